package rewrite

// Path changes the path that a backend sees. At most one field is set; the
// query is kept.
type Path struct {
	// StripPrefix removes a leading path segment or segments: "/v1" turns /v1/a into /a and
	// /v1 into /.
	StripPrefix string
	// ReplacePrefix replaces From by To in the same way.
	ReplacePrefix *Replace
	// Regex replaces the first match of From (RE2) by To, with $1 or ${name} for groups.
	Regex *Replace
}

// Replace is a pair of texts.
type Replace struct{ From, To string }

// Headers changes header fields, in the order remove, set, add. Values are
// templates.
type Headers struct {
	Set    []Header // replaces all of that name
	Add    []Header // adds one more
	Remove []string
}

// Header is one field; Value is a template.
type Header struct{ Name, Value string }

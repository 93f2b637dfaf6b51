package router

// Match says which requests a route takes. Empty fields take everything.
type Match struct {
	// Host is an exact name, "*.example.com" (any one or more labels below
	// example.com), or "" or "*" for any. Compared without case and port.
	Host string
	// Path is exact ("/login"), a prefix ("/v1/*" takes /v1 and everything
	// below /v1/), a regular expression ("~^/u/[0-9]+$", RE2), or "" or "/*"
	// for any. Compared with the path as the client sent it, without query.
	Path string
	// Methods lists the methods taken; empty takes any.
	Methods []string
	// Headers and Query must all match.
	Headers []Field
	Query   []Field
}

// Field matches one header or query parameter.
type Field struct {
	// Name of the header (without case) or query parameter (with case).
	Name string
	// Value is exact, "*" for present with any value, or "~regex".
	Value string
}

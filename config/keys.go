package config

// Key describes one key of the file, for documentation and tools.
type Key struct {
	// Path names it; <name> stands for a name the file chooses, [] for an item
	// of a list.
	Path string
	// Type is what kind of value it takes: duration, size, mapping, ….
	Type string
	// Default is what an absent key means; empty for a required key and for a
	// mapping whose keys have defaults of their own.
	Default string
	// Allowed says which values are accepted.
	Allowed string
	// Doc is its meaning in a sentence or two.
	Doc string
	// Required keys must be there when the mapping around them is.
	Required bool
}

// Keys lists every key that Parse accepts, each mapping before what is in it.
func Keys() []Key {
	m := fileMapping()
	def := m.fresh()
	return m.keys("", &def)
}

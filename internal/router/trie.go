package router

import "bytes"

// paths holds the routes of one host pattern: those for any path, and a
// compressed trie (radix tree) of the exact paths, the prefixes and the literal
// beginnings of the regular expressions.
type paths struct {
	root node
	any  *set
}

// node is one place in the trie, reached over label.
type node struct {
	label  string
	firsts []byte // first bytes of the labels of kids, in the same order
	kids   []*node

	exact  *set
	regex  *set
	prefix *set

	// The next places above that have expressions or a fitting prefix, so that
	// a search that failed here goes on there without a stack.
	upRegex, upPrefix *node
}

// newPaths builds the paths of one host from its routes in match order.
func newPaths(routes []*route) *paths {
	p := &paths{}
	for start := 0; start < len(routes); {
		end := start + 1
		for end < len(routes) && sameSet(&routes[start].path, &routes[end].path) {
			end++
		}
		s := newSet(routes[start:end:end])
		switch key := &routes[start].path; key.kind {
		case pathExact:
			p.root.insert(key.text).exact = s
		case pathRegex:
			p.root.insert(key.literal).regex = s
		case pathPrefix:
			p.root.insert(key.text).prefix = s
		case pathAny:
			p.any = s
		}
		start = end
	}
	p.root.link(nil, nil)
	return p
}

// sameSet reports whether two patterns belong into one set.
func sameSet(a, b *pathKey) bool {
	if a.kind != b.kind {
		return false
	}
	if a.kind == pathRegex {
		return a.literal == b.literal
	}
	return a.text == b.text
}

// insert returns the node at text below n, made if need be.
func (n *node) insert(text string) *node {
	for text != "" {
		i := bytes.IndexByte(n.firsts, text[0])
		if i < 0 {
			kid := &node{label: text}
			n.firsts, n.kids = append(n.firsts, text[0]), append(n.kids, kid)
			return kid
		}
		kid := n.kids[i]
		common := 1
		for common < len(text) && common < len(kid.label) && text[common] == kid.label[common] {
			common++
		}
		if common < len(kid.label) {
			mid := &node{label: kid.label[:common], firsts: []byte{kid.label[common]}, kids: []*node{kid}}
			kid.label = kid.label[common:]
			n.kids[i] = mid
			kid = mid
		}
		n, text = kid, text[common:]
	}
	return n
}

// link sets the ways up in the tree below n, given the nearest places above.
func (n *node) link(regex, prefix *node) {
	n.upRegex, n.upPrefix = regex, prefix
	if n.regex != nil {
		regex = n
	}
	for _, kid := range n.kids {
		up := prefix
		if n.prefix != nil && kid.label[0] == '/' {
			up = n
		}
		kid.link(regex, up)
	}
}

// find returns the best route of this host that takes q, or nil. A nil paths
// has none.
func (p *paths) find(q *Request) *route {
	if p == nil {
		return nil
	}
	exact, regex, prefix := p.root.walk(q.Path)
	if r := exact.find(q, worstRank); r != nil {
		return r
	}
	for ; regex != nil; regex = regex.upRegex {
		if r := regex.regex.find(q, worstRank); r != nil {
			return r
		}
	}
	for ; prefix != nil; prefix = prefix.upPrefix {
		if r := prefix.prefix.find(q, worstRank); r != nil {
			return r
		}
	}
	return p.any.find(q, worstRank)
}

// walk goes down along path and returns the routes of exactly this path and
// the deepest places with expressions and with a prefix that may take it.
func (n *node) walk(path []byte) (exact *set, regex, prefix *node) {
	for {
		if n.regex != nil {
			regex = n
		}
		if n.prefix != nil && (len(path) == 0 || path[0] == '/') {
			prefix = n
		}
		if len(path) == 0 {
			return n.exact, regex, prefix
		}
		i := bytes.IndexByte(n.firsts, path[0])
		if i < 0 {
			return nil, regex, prefix
		}
		kid := n.kids[i]
		if len(path) < len(kid.label) || string(path[:len(kid.label)]) != kid.label {
			return nil, regex, prefix
		}
		n, path = kid, path[len(kid.label):]
	}
}

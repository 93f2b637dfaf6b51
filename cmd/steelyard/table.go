package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// table is printed with its columns aligned.
type table struct {
	rows   [][]string
	right  map[int]bool // columns of numbers
	colour map[int]func(cell string) string
}

func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = plain(fmt.Sprint(c))
	}
	t.rows = append(t.rows, row)
}

// fit shortens what would make rows wider than a terminal: what stands in the last
// column at its end, and then the names of the first in their middle, because
// names differ at both ends.
func (t *table) fit(width int) {
	widths := t.widths()
	total := -2
	for _, w := range widths {
		total += w + 2
	}
	for _, c := range [][2]int{{len(widths) - 1, 24}, {0, 16}} {
		column, fewest := c[0], c[1]
		if total <= width || column < 0 || widths[column] <= fewest {
			continue
		}
		room := max(fewest, widths[column]-(total-width))
		total -= widths[column] - room
		for _, row := range t.rows {
			if column < len(row) {
				row[column] = shorten(row[column], room, column == 0)
			}
		}
	}
}

// shorten leaves n characters of a text, of its beginning, or of both ends.
func shorten(text string, n int, ends bool) string {
	r := []rune(text)
	switch {
	case len(r) <= n:
		return text
	case ends:
		return string(r[:(n-1)/2]) + "…" + string(r[len(r)-n/2:])
	}
	return string(r[:n-1]) + "…"
}

func (t *table) widths() (widths []int) {
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// lines are the rows; the first is the head. Colours are kept out of the widths.
func (t *table) lines(colours bool) []string {
	widths := t.widths()
	lines := make([]string, len(t.rows))
	for n, row := range t.rows {
		var b strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			text := cell
			if colour := t.colour[i]; colours && n > 0 && colour != nil {
				text = colour(cell)
			} else if colours && n == 0 {
				text = "\x1b[1m" + cell + "\x1b[0m"
			}
			if t.right[i] {
				b.WriteString(pad + text)
			} else {
				b.WriteString(text + pad)
			}
			b.WriteString("  ")
		}
		lines[n] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

func (t *table) print(w io.Writer) {
	if f, isFile := w.(*os.File); isFile && isTerminal(f) {
		columns, _ := terminalSize(f)
		t.fit(columns)
	}
	for _, line := range t.lines(coloured(w)) {
		fmt.Fprintln(w, line)
	}
}

// coloured reports whether w is a terminal that may be sent colours.
func coloured(w io.Writer) bool {
	f, isFile := w.(*os.File)
	return isFile && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(f)
}

// stateColour marks the state of a backend; the word itself says it all.
func stateColour(state string) string {
	code := "31" // red
	word, _, _ := strings.Cut(state, " ")
	if well, all, ofPool := strings.Cut(word, "/"); ofPool && well == all && all != "0" { // of a pool
		word = "healthy"
	} else if ofPool && well != "0" {
		word = "checking"
	}
	switch word {
	case "healthy":
		code = "32"
	case "new", "slow_start", "checking", "draining":
		code = "33"
	case "disabled":
		code = "2"
	}
	return "\x1b[" + code + "m" + state + "\x1b[0m"
}

// plain keeps what others wrote from steering the terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf) || r == utf8.RuneError {
			return '·'
		}
		return r
	}, s)
}

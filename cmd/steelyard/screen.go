package main

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// screen is a terminal that is drawn anew each second.
type screen struct {
	f    *os.File
	last []string
}

// openScreen takes the terminal until close; q and escape cancel.
func openScreen(f *os.File, cancel context.CancelFunc) (s *screen, done func(), err error) {
	restore, err := eachKey(os.Stdin)
	if err != nil {
		return nil, nil, err
	}
	// The other screen, without a cursor and without wrapping.
	fmt.Fprint(f, "\x1b[?1049h\x1b[?25l\x1b[?7l")
	go func() { // ends with the process: a read of a terminal cannot be cancelled
		key := make([]byte, 1)
		for {
			if n, err := os.Stdin.Read(key); n == 0 || err != nil || key[0] == 'q' || key[0] == 'Q' {
				cancel()
				return
			}
		}
	}()
	return &screen{f: f}, func() {
		fmt.Fprint(f, "\x1b[?7h\x1b[?25h\x1b[?1049l")
		restore()
	}, nil
}

// show draws an event.
func (s *screen) show(text []byte) (err error) {
	columns, _ := terminalSize(s.f)
	if s.last, err = liveLines(text, os.Getenv("NO_COLOR") == "", columns); err != nil {
		return err
	}
	s.draw("q ends this")
	return nil
}

// lost keeps what was drawn last and says that it is old.
func (s *screen) lost(err error) {
	s.draw("no connection, trying again: " + plain(err.Error()))
}

// draw fills the screen in one write, so that nothing flickers.
func (s *screen) draw(foot string) {
	_, rows := terminalSize(s.f)
	lines := s.last
	if room := max(rows-1, 1); len(lines) > room {
		more := len(lines) - room + 1
		lines = append(lines[:room-1:room-1], fmt.Sprintf("… %d lines more; steelyard pools lists all", more))
	}
	var b strings.Builder
	b.WriteString("\x1b[H")
	for _, line := range lines {
		b.WriteString(line + "\x1b[0m\x1b[K\r\n")
	}
	b.WriteString("\x1b[J\x1b[2m" + foot + "\x1b[0m")
	fmt.Fprint(s.f, b.String())
}

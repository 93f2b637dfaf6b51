package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const topHelp = `Usage: steelyard top [-n COUNT]

Shows pools and backends live, once a second; q ends it. Where the output is no
terminal it prints one table after the other, with --json one line a second.

  -n COUNT            ends after so many seconds
` + remoteHelp + `
Example:
  steelyard top
`

func topCommand(args []string, out, _ io.Writer) error {
	most := 0
	r, err := parseRemote("top", topHelp, args, out, nil, func(fs *flag.FlagSet) { fs.IntVar(&most, "n", 0, "") })
	if err != nil {
		return err
	}
	c, err := r.client()
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	show := func(text []byte) error { return printLive(out, text) }
	if r.json {
		show = func(text []byte) error {
			_, err := fmt.Fprintf(out, "%s\n", text)
			return err
		}
	}
	f, isFile := out.(*os.File)
	if r.json || !isFile || !isTerminal(f) {
		_, err := follow(ctx, c, most, show)
		return err
	}
	screen, done, err := openScreen(f, cancel)
	if err != nil {
		_, err := follow(ctx, c, most, show) // plain, without keys
		return err
	}
	defer done()
	return watch(ctx, c, most, screen)
}

// watch follows on a screen and comes again when the connection is lost.
func watch(ctx context.Context, c *client, most int, s *screen) error {
	for connected := false; ; {
		n, err := follow(ctx, c, most, s.show)
		connected = connected || n > 0
		if ctx.Err() != nil || err == nil || !connected {
			return err
		}
		if most > 0 {
			most = max(most-n, 1)
		}
		s.lost(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// follow reads the stream and shows each event, until ctx ends or there were most
// of them. It returns how many there were.
func follow(ctx context.Context, c *client, most int, show func([]byte) error) (n int, err error) {
	res, err := c.open(ctx, "GET", "/api/v1/stream", nil)
	if err != nil {
		if ctx.Err() != nil {
			return 0, nil
		}
		return 0, err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		text, isData := strings.CutPrefix(lines.Text(), "data: ")
		if !isData {
			continue
		}
		if err := show([]byte(text)); err != nil {
			return n, err
		}
		if n++; n == most {
			return n, nil
		}
	}
	if ctx.Err() != nil {
		return n, nil
	}
	return n, fmt.Errorf("%s: %w", c.where, errors.Join(errors.New("the connection has ended; is Steelyard stopping?"), lines.Err()))
}

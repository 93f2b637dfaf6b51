package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"steelyard/config"
)

// defaultAdmin is where commands look for the admin API.
const defaultAdmin = "127.0.0.1:9400"

// remoteHelp is what the help of each command that speaks to the admin API ends
// with.
const remoteHelp = `
  --admin ADDRESS     the admin API: host:port, https://host:port or unix:/path
                      (default 127.0.0.1:9400)
  -c FILE             takes address and token from the key admin of this file
  --token-file FILE   has the token; else STEELYARD_ADMIN_TOKEN is taken
  --ca FILE           trusts these certificates (PEM)
  --cert FILE --key FILE   shows this certificate
  --json              prints what the API answers
`

// remote is what each command that speaks to the admin API is told.
type remote struct {
	admin, file, tokenFile, ca, cert, key string
	json                                  bool
	out                                   io.Writer
	args                                  []string // positional
}

// parseRemote reads a command line in which flags may stand anywhere. names are
// its positional arguments; those in brackets may be left out.
func parseRemote(name, help string, args []string, out io.Writer, names []string, define func(*flag.FlagSet)) (*remote, error) {
	r := &remote{out: out}
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&r.admin, "admin", "", "")
	fs.StringVar(&r.file, "c", "", "")
	fs.StringVar(&r.tokenFile, "token-file", "", "")
	fs.StringVar(&r.ca, "ca", "", "")
	fs.StringVar(&r.cert, "cert", "", "")
	fs.StringVar(&r.key, "key", "", "")
	fs.BoolVar(&r.json, "json", false, "")
	if define != nil {
		define(fs)
	}
	for {
		err := fs.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(out, help)
			return nil, err
		}
		if err != nil {
			return nil, flagMistake(fs, err)
		}
		if fs.NArg() == 0 {
			break
		}
		r.args, args = append(r.args, fs.Arg(0)), fs.Args()[1:]
	}
	if len(r.args) > len(names) {
		return nil, usageError{fmt.Errorf("unexpected argument %q", r.args[len(names)])}
	}
	for _, missing := range names[len(r.args):] {
		if !strings.HasPrefix(missing, "[") {
			return nil, usageError{fmt.Errorf("%s is missing", missing)}
		}
	}
	return r, nil
}

// client makes the client that the flags ask for.
func (r *remote) client() (*client, error) {
	address, token, https := r.admin, strings.TrimSpace(os.Getenv("STEELYARD_ADMIN_TOKEN")), false
	tokenFile := r.tokenFile
	if r.file != "" {
		cfg, err := config.Load(r.file)
		if err != nil {
			return nil, err
		}
		if cfg.Admin == nil {
			return nil, fmt.Errorf("%s has no admin API; add the line `admin: %s` and reload", r.file, defaultAdmin)
		}
		if address == "" {
			address, https = cfg.Admin.Address, cfg.Admin.TLS != nil
		}
		if token == "" && tokenFile == "" {
			token, tokenFile = cfg.Admin.Token, cfg.Admin.TokenFile
		}
	}
	if address == "" {
		address = defaultAdmin
	}
	if tokenFile != "" {
		text, err := os.ReadFile(tokenFile)
		if err != nil {
			return nil, fmt.Errorf("the token: %w", err)
		}
		line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		token = strings.TrimSpace(line)
	}
	if strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil, errors.New("the token has spaces or characters beyond ASCII, which a header cannot carry; STEELYARD_ADMIN_TOKEN or --token-file has something else than a token")
	}
	conf, err := tlsFor(r.ca, r.cert, r.key, https)
	if err != nil {
		return nil, err
	}
	return newClient(address, token, conf), nil
}

// ask sends a request and reads the answer into v. With --json it prints the
// answer instead, and done is true.
func (r *remote) ask(method, path string, body, v any) (done bool, err error) {
	c, err := r.client()
	if err != nil {
		return false, err
	}
	text, err := c.call(method, path, body)
	if err != nil {
		return false, err
	}
	if r.json {
		return true, r.print(text)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return false, fmt.Errorf("%s did not answer as the admin API does: %w", c.where, err)
	}
	return false, nil
}

// print writes JSON, indented.
func (r *remote) print(text []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(text), "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(r.out, b.String())
	return err
}

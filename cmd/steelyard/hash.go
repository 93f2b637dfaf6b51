package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"steelyard/internal/auth"
)

const hashHelp = `Usage: steelyard hash-password [-u NAME] [--bcrypt COST]

Asks for a password, or reads it from standard input, and prints its hash as
basic_auth takes it: argon2id, unless --bcrypt gives a cost (10 to 14).

  -u NAME         prints a line "NAME:hash" for the file of basic_auth
  --bcrypt COST   bcrypt of that cost, for files that others read as well

Example:
  steelyard hash-password -u alice >>users.htpasswd
`

func hashCommand(args []string, out, errOut io.Writer) error {
	name, cost := "", 0
	err := flags("hash-password", hashHelp, args, out, func(fs *flag.FlagSet) {
		fs.StringVar(&name, "u", "", "")
		fs.IntVar(&cost, "bcrypt", 0, "")
	})
	if err != nil {
		return err
	}
	if name != "" {
		if err := auth.CheckName(name); err != nil {
			return usageError{errors.New(strings.TrimPrefix(err.Error(), "auth: "))}
		}
		name += ":"
	}
	password, err := askPassword(os.Stdin, errOut)
	if err != nil {
		return err
	}
	hash, err := auth.HashPassword([]byte(password), cost)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, name+hash)
	return nil
}

// askPassword reads a line; on a terminal twice, and without showing it.
func askPassword(in *os.File, errOut io.Writer) (string, error) {
	lines := bufio.NewReader(in)
	if !isTerminal(in) {
		return oneLine(lines)
	}
	restore, err := unseen(in)
	if err != nil {
		return "", err
	}
	defer restore()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	defer func() {
		signal.Stop(interrupted)
		close(interrupted)
	}()
	go func() {
		if _, ok := <-interrupted; ok {
			restore()
			os.Exit(130)
		}
	}()
	ask := func(what string) (string, error) {
		fmt.Fprint(errOut, what)
		defer fmt.Fprintln(errOut)
		return oneLine(lines)
	}
	first, err := ask("Password: ")
	if err != nil {
		return "", err
	}
	again, err := ask("Once more: ")
	if err == nil && first != again {
		err = errors.New("the two are not the same")
	}
	return first, err
}

// oneLine reads a line without its end.
func oneLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if line == "" && err != nil {
		return "", errors.New("there is no password on standard input")
	}
	return strings.TrimRight(line, "\r\n"), nil
}

//go:build !linux

package main

import (
	"errors"
	"os"
)

// isTerminal knows no terminals here, so that output is plain.
func isTerminal(*os.File) bool { return false }

func eachKey(*os.File) (restore func(), err error) {
	return nil, errors.New("no terminal is known on this system")
}

func unseen(*os.File) (restore func(), err error) {
	return nil, errors.New("no terminal is known on this system")
}

func terminalSize(*os.File) (columns, rows int) { return 80, 24 }

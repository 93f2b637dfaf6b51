package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Problem is something that is wrong with a file, and what to do about it.
type Problem struct {
	Key  string // cert, key, hosts or ca: what the file is to be, or what speaks against it
	File string
	Msg  string // reads on from the name of the file: "has no certificate"
	Cure string
	// Missing says that there is no such file.
	Missing bool
	// Index is which of Options.Certificates it is about, and Line where that
	// stands; 0 for CAs, and where Load is asked for one pair alone.
	Index, Line int
}

// Error says what is wrong and what to do.
func (p *Problem) Error() string {
	s := p.File + " " + p.Msg
	if p.Cure != "" {
		s += "; " + p.Cure
	}
	return s
}

// Problems are all that was found, never empty.
type Problems []*Problem

// Error lists them.
func (ps Problems) Error() string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.Error()
	}
	return strings.Join(texts, "; ")
}

// maxFile is the largest file that is read, in bytes. A bundle of all public CAs
// has a quarter of it.
const maxFile = 1 << 20

// readFile reads a PEM file.
func readFile(key, path string) ([]byte, *Problem) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return nil, &Problem{Key: key, File: path, Msg: "is a folder", Cure: "name a file in it"}
	}
	if err == nil && info.Size() > maxFile {
		return nil, &Problem{Key: key, File: path, Msg: fmt.Sprintf("has %d bytes, which is more than certificates and keys have", info.Size()), Cure: "name a PEM file"}
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &Problem{Key: key, File: path, Msg: "does not exist", Cure: "create it, or correct the path", Missing: true}
	case errors.Is(err, fs.ErrPermission):
		return nil, &Problem{Key: key, File: path, Msg: "cannot be read by the user that Steelyard runs as", Cure: "change its owner or its mode"}
	case err != nil:
		return nil, &Problem{Key: key, File: path, Msg: "cannot be read: " + err.Error(), Cure: "see to the file"}
	case len(data) == 0:
		return nil, &Problem{Key: key, File: path, Msg: "is empty", Cure: "was it written to its end?"}
	}
	return data, nil
}

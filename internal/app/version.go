package app

// Version is the version of the binary, for its metrics. The command sets it
// before Start.
var Version = "dev"

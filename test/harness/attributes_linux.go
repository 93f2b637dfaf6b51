package harness

import "syscall"

// attributes makes a process end with the test binary, however that ends.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

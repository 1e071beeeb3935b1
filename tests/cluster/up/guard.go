package up

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"tidegate.dev/tests/cluster/spawn"
)

// A guard is a second process that outlives `up` by a moment: when `up` has died, even by kill -9, it kills pod
// processes that left their process group and removes the directory. It learns of the death by the end of its input.

// startGuard starts the guard of this process.
func startGuard(binary, mark, removeDir string) error {
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	// The writer is never closed here, and no other child inherits it: it ends with this process.
	held = writer
	command := exec.Command(binary, "guard", mark, removeDir)
	command.Stdin, command.Stderr = reader, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		return fmt.Errorf("starting the guard: %w", err)
	}
	return reader.Close()
}

// held keeps the guard's pipe from being collected, which would close it.
var held *os.File

// Guard is the guard's main: guard MARK DIRECTORY, with an empty directory when it is to be kept.
func Guard(args []string) int {
	if len(args) != 2 || args[0] == "" {
		fmt.Fprintln(os.Stderr, "guard is started by up, not by hand")
		return 2
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	_, _ = io.Copy(io.Discard, os.Stdin)
	spawn.KillMarked(args[0])
	if args[1] != "" {
		if err := os.RemoveAll(args[1]); err != nil {
			fmt.Fprintf(os.Stderr, "removing %s: %v\n", args[1], err)
			return 1
		}
	}
	return 0
}

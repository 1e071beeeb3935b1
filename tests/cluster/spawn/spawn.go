// Package spawn starts child processes that cannot outlive this one.
//
// Each child leads a process group of its own, so that it can be signalled together with what it started, and is
// killed by the kernel when this process dies, however that happens. It does not wait for children, restart them or
// read their output: that is for whoever starts them.
package spawn

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// Every pod process carries marks in its environment: its cluster's and its container's. They are how a process that
// left its process group is still found.
const (
	clusterVariable   = "TIDEGATE_CLUSTER_MARK"
	containerVariable = "TIDEGATE_CONTAINER_MARK"
)

// ClusterMark is the environment entry of all processes of one cluster.
func ClusterMark(id string) string { return clusterVariable + "=" + id }

// ContainerMark is the environment entry of all processes of one container.
func ContainerMark(id string) string { return containerVariable + "=" + id }

type request struct {
	command *exec.Cmd
	started chan error
}

var (
	requests = make(chan request)
	once     sync.Once
)

// Start starts the command in a process group of its own, to be killed when this process dies.
//
// The kernel sends the parent-death signal when the *thread* that forked ends, so all forks happen on one thread that
// lives as long as the process.
func Start(command *exec.Cmd) error {
	once.Do(func() {
		go func() {
			runtime.LockOSThread()
			for r := range requests {
				r.started <- r.command.Start()
			}
		}()
	})
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	r := request{command: command, started: make(chan error, 1)}
	requests <- r
	return <-r.started
}

// Signal sends a signal to the process group that the process leads. A group that is gone is not an error.
func Signal(pid int, signal syscall.Signal) {
	if pid > 1 {
		_ = syscall.Kill(-pid, signal)
	}
}

// ExitCode is the exit code as a container runtime reports it: 128 plus the signal for a process that a signal ended.
func ExitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// KillMarked kills every process whose environment carries the mark, and says how many there were.
func KillMarked(mark string) int {
	wanted := []byte(mark)
	killed := 0
	// A process may fork while /proc is read: look again until a look finds nothing.
	for range 10 {
		found := 0
		paths, err := filepath.Glob("/proc/[0-9]*/environ")
		if err != nil {
			return killed
		}
		for _, path := range paths {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil || pid == os.Getpid() {
				continue
			}
			environment, err := os.ReadFile(path)
			if err != nil {
				continue // It ended, or belongs to somebody else.
			}
			for entry := range bytes.SplitSeq(environment, []byte{0}) {
				if bytes.Equal(entry, wanted) && syscall.Kill(pid, syscall.SIGKILL) == nil {
					found++
				}
			}
		}
		if found == 0 {
			break
		}
		killed += found
	}
	return killed
}

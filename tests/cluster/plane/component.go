package plane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"tidegate.dev/tests/cluster/spawn"
)

// Component is one part of the control plane, run as a child process. One that ends by itself after it was healthy is
// started again, as a kubelet would; one that never became healthy is an error with the end of its log.
type Component struct {
	Name string

	binary  string
	args    []string
	logFile string
	healthy func(context.Context) error

	restarting sync.Mutex // held during Start, Restart and the restart after an unexpected end

	mu       sync.Mutex
	command  *exec.Cmd
	ended    chan struct{}
	expected bool // its end is wanted
	paused   bool
	restarts int
}

// ComponentState is what the control endpoint says about a component.
type ComponentState struct {
	PID      int  `json:"pid"`
	Running  bool `json:"running"`
	Paused   bool `json:"paused"`
	Restarts int  `json:"restarts"`
}

// Start starts the component and waits until it is healthy.
func (c *Component) Start(ctx context.Context) error {
	c.restarting.Lock()
	defer c.restarting.Unlock()
	if err := c.launch(); err != nil {
		return err
	}
	return c.waitHealthy(ctx)
}

// Restart kills the component as a crash would (kill -9), starts it again and waits until it is healthy.
func (c *Component) Restart(ctx context.Context) error {
	c.restarting.Lock()
	defer c.restarting.Unlock()
	c.Kill()
	c.mu.Lock()
	c.restarts++
	c.mu.Unlock()
	if err := c.launch(); err != nil {
		return err
	}
	return c.waitHealthy(ctx)
}

// Kill kills the component and waits for its end.
func (c *Component) Kill() {
	c.mu.Lock()
	c.expected = true
	command, ended := c.command, c.ended
	c.mu.Unlock()
	if command == nil {
		return
	}
	spawn.Signal(command.Process.Pid, syscall.SIGKILL)
	<-ended
}

// Pause stops the component where it is, with its connections open.
func (c *Component) Pause() error { return c.freeze(syscall.SIGSTOP, true) }

// Resume lets a paused component go on.
func (c *Component) Resume() error { return c.freeze(syscall.SIGCONT, false) }

func (c *Component) freeze(signal syscall.Signal, paused bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.runs() {
		return fmt.Errorf("%s is not running: restart it", c.Name)
	}
	spawn.Signal(c.command.Process.Pid, signal)
	c.paused = paused
	return nil
}

// State says how the component is.
func (c *Component) State() ComponentState {
	c.mu.Lock()
	defer c.mu.Unlock()
	state := ComponentState{Running: c.runs(), Paused: c.paused, Restarts: c.restarts}
	if c.command != nil {
		state.PID = c.command.Process.Pid
	}
	return state
}

func (c *Component) runs() bool {
	if c.command == nil {
		return false
	}
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

func (c *Component) launch() error {
	output, err := os.OpenFile(c.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close() // The child has its own copy.
	command := exec.Command(c.binary, append([]string{c.Name}, c.args...)...)
	command.Stdout, command.Stderr = output, output
	if err := spawn.Start(command); err != nil {
		return fmt.Errorf("starting %s: %w", c.Name, err)
	}
	ended := make(chan struct{})
	c.mu.Lock()
	c.command, c.ended, c.expected, c.paused = command, ended, false, false
	c.mu.Unlock()
	go func() {
		_ = command.Wait()
		close(ended)
	}()
	return nil
}

func (c *Component) waitHealthy(ctx context.Context) error {
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	for {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := c.healthy(try)
		cancel()
		if err == nil {
			go c.watch(ended)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not become healthy in time (%w); the end of %s:\n%s", c.Name, err, c.logFile, c.logTail())
		case <-ended:
			return fmt.Errorf("%s ended while it started; the end of %s:\n%s", c.Name, c.logFile, c.logTail())
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// watch starts the component again when it ends and nobody wanted that.
func (c *Component) watch(ended chan struct{}) {
	<-ended
	time.Sleep(time.Second)
	c.restarting.Lock()
	c.mu.Lock()
	wanted := !c.expected && c.ended == ended
	c.mu.Unlock()
	c.restarting.Unlock()
	if !wanted {
		return
	}
	log.Printf("%s ended by itself, starting it again; its log is %s", c.Name, c.logFile)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Restart(ctx); err != nil && !errors.Is(err, context.Canceled) {
		log.Print(err)
	}
}

func (c *Component) logTail() string {
	content, err := os.ReadFile(c.logFile)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(content), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-15):], []byte("\n")))
}

package process

import (
	"context"
	"os/exec"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"tidegate.dev/tests/cluster/spawn"
)

// stopper is the wish that containers end, and until when they may take.
type stopper struct {
	begun chan struct{} // closed by the first wish

	mu       sync.Mutex
	deadline time.Time
}

func newStopper() *stopper {
	return &stopper{begun: make(chan struct{})}
}

// ask asks for the end by the deadline. Asking again can only make it sooner.
func (s *stopper) ask(deadline time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deadline.IsZero() {
		close(s.begun)
		s.deadline = deadline
	}
	if deadline.Before(s.deadline) {
		s.deadline = deadline
	}
}

func (s *stopper) asked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.deadline.IsZero()
}

// remaining is the time until the deadline, and endless when nobody has asked.
func (s *stopper) remaining() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deadline.IsZero() {
		return time.Duration(1<<63 - 1)
	}
	return time.Until(s.deadline)
}

// terminate asks the process group to end, and kills it when the time is over. It returns when the process has ended.
func (c *container) terminate(ctx context.Context, plan *launchPlan, command *exec.Cmd, ended chan struct{}, remaining func() time.Duration, because string) {
	pid := command.Process.Pid
	if because != "" {
		c.pod.event(corev1.EventTypeNormal, "Killing", "Container %s %s, will be restarted", c.spec.Name, because)
	} else {
		c.pod.event(corev1.EventTypeNormal, "Killing", "Stopping container %s", c.spec.Name)
	}
	if c.spec.Lifecycle != nil && c.spec.Lifecycle.PreStop != nil {
		c.preStop(ctx, plan, c.spec.Lifecycle.PreStop, ended, remaining())
	}
	spawn.Signal(pid, syscall.SIGTERM)
	for {
		left := remaining()
		if left <= 0 {
			spawn.Signal(pid, syscall.SIGKILL)
			<-ended
			return
		}
		select {
		case <-ended:
			return
		case <-ctx.Done():
			spawn.Signal(pid, syscall.SIGKILL)
		case <-time.After(min(left, 100*time.Millisecond)): // A second deletion may shorten what remains.
		}
	}
}

// preStop runs the hook for as long as there is time and a process.
func (c *container) preStop(ctx context.Context, plan *launchPlan, hook *corev1.LifecycleHandler, ended chan struct{}, left time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	if hook.Sleep != nil {
		sleep(ctx, time.Duration(hook.Sleep.Seconds)*time.Second)
		return
	}
	action := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: hook.Exec, HTTPGet: hook.HTTPGet}}
	if ok, message := c.check(ctx, action, plan); !ok && ctx.Err() == nil {
		c.pod.event(corev1.EventTypeWarning, "FailedPreStopHook", "PreStop hook of container %s failed: %s", c.spec.Name, message)
	}
}

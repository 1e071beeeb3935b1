package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tidegate.dev/tests/cluster/spawn"
)

// launchPlan is everything that starting the process needs.
type launchPlan struct {
	command     []string
	environment []string
	directory   string
	mounts      []mount
}

func (c *container) resolve(ctx context.Context, entrypoint []string) (plan launchPlan, reason string, err error) {
	variables, err := environment(c.pod.current(), c.spec, c.pod.address, c.pod.configs(ctx))
	if err != nil {
		return plan, reasonConfigError, err
	}
	plan.mounts = mounts(c.spec, c.pod.volumeDirectory, variables)
	plan.command = entrypoint
	if len(c.spec.Command) > 0 {
		plan.command = expanded(c.spec.Command, variables, plan.mounts)
	}
	plan.command = append(plan.command[:len(plan.command):len(plan.command)], expanded(c.spec.Args, variables, plan.mounts)...)
	if len(plan.command) == 0 {
		return plan, reasonCreateError, errors.New("no command specified: give the container a command, or its image one with --image")
	}
	for _, v := range variables {
		plan.environment = append(plan.environment, v.name+"="+relocate(v.value, plan.mounts))
	}
	for _, m := range c.spec.VolumeMounts {
		plan.environment = append(plan.environment, volumeVariable(m.Name)+"="+c.pod.volumeDirectory(m.Name))
	}
	plan.environment = append(plan.environment, c.pod.machine.settings.Mark, c.mark())
	plan.directory = c.pod.path("work", c.spec.Name)
	if c.spec.WorkingDir != "" {
		plan.directory = relocate(expand(c.spec.WorkingDir, variables), plan.mounts)
	} else if err := os.MkdirAll(plan.directory, 0o755); err != nil {
		return plan, reasonCreateError, err
	}
	return plan, "", nil
}

func expanded(texts []string, variables []variable, list []mount) []string {
	result := make([]string, len(texts))
	for i, text := range texts {
		result[i] = relocate(expand(text, variables), list)
	}
	return result
}

// mark is the mark of the container's processes.
func (c *container) mark() string {
	return spawn.ContainerMark(string(c.pod.uid) + "/" + c.spec.Name)
}

// make makes a command that runs as the plan says. The program is looked for as the container would, in its own PATH.
func (p *launchPlan) make(words []string) *exec.Cmd {
	command := &exec.Cmd{Path: words[0], Args: words, Env: p.environment, Dir: p.directory}
	if !strings.Contains(words[0], "/") {
		for _, entry := range p.environment {
			if path, ok := strings.CutPrefix(entry, "PATH="); ok {
				command.Path = find(words[0], path)
			}
		}
	}
	return command
}

func find(program, path string) string {
	for _, directory := range filepath.SplitList(path) {
		candidate := filepath.Join(directory, program)
		if info, err := os.Stat(candidate); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return candidate
		}
	}
	return program
}

// launch starts the process with its output kept; ended is closed when the process has ended.
func (c *container) launch(command *exec.Cmd) (output *Output, ended chan struct{}, err error) {
	c.pod.mu.Lock()
	older := c.previous
	restarts := c.status.RestartCount
	c.pod.mu.Unlock()
	base := c.pod.path("logs", c.spec.Name)
	if err := os.MkdirAll(base, 0o755); err != nil {
		return nil, nil, err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	command.Stdout, command.Stderr = writer, writer
	err = spawn.Start(command)
	_ = writer.Close() // The process has its own copy.
	if err != nil {
		_ = reader.Close()
		return nil, nil, err
	}
	if older != nil {
		older.remove() // Two runs are kept: this one and the one before.
	}
	output, err = newOutput(filepath.Join(base, fmt.Sprint(restarts)), reader)
	if err != nil {
		_ = reader.Close()
		spawn.Signal(command.Process.Pid, syscall.SIGKILL)
		_ = command.Wait()
		return nil, nil, err
	}
	ended = make(chan struct{})
	go func() {
		_ = command.Wait()
		close(ended)
	}()
	return output, ended, nil
}

// execute runs a command as the container would, and kills it when the context ends.
func (p *launchPlan) execute(ctx context.Context, words []string) (output string, err error) {
	var kept limitedBuffer
	command := p.make(expanded(words, nil, p.mounts))
	command.Stdout, command.Stderr = &kept, &kept
	command.WaitDelay = 100 * time.Millisecond
	if err := spawn.Start(command); err != nil {
		return "", err
	}
	done := make(chan error, 1)
	go func() { done <- command.Wait() }()
	select {
	case err = <-done:
	case <-ctx.Done():
		spawn.Signal(command.Process.Pid, syscall.SIGKILL)
		<-done
		err = ctx.Err()
	}
	spawn.Signal(command.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // It ended well; something that it started went on writing.
	}
	return strings.TrimSpace(kept.String()), err
}

// limitedBuffer keeps the beginning of what is written to it.
type limitedBuffer struct{ strings.Builder }

func (b *limitedBuffer) Write(data []byte) (int, error) {
	if room := 4<<10 - b.Len(); room > 0 {
		b.Builder.Write(data[:min(room, len(data))])
	}
	return len(data), nil
}

// Package smoke brings up a real cluster and looks whether it behaves. It takes half a minute and needs the built
// binary, so it runs only with TIDEGATE_CLUSTER_SMOKE=1.
package smoke

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cluster is a running `tidegate-cluster up`.
type cluster struct {
	Kubeconfig  string            `json:"kubeconfig"`
	Kubeconfigs map[string]string `json:"kubeconfigs"`
	Control     string            `json:"control"`
	Dir         string            `json:"dir"`
	PIDs        map[string]int    `json:"pids"`

	t       *testing.T
	binary  string
	command *exec.Cmd
	input   io.Closer
}

func binary(t *testing.T) string {
	t.Helper()
	if os.Getenv("TIDEGATE_CLUSTER_SMOKE") == "" {
		t.Skip("set TIDEGATE_CLUSTER_SMOKE=1 to bring up a real cluster")
	}
	build := exec.Command("../build.sh")
	build.Stderr = os.Stderr
	path, err := build.Output()
	if err != nil {
		t.Fatalf("building: %v", err)
	}
	return strings.TrimSpace(string(path))
}

func up(t *testing.T, args ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, binary: binary(t)}
	c.command = exec.Command(c.binary, append([]string{"up"}, args...)...)
	c.command.Stderr = os.Stderr
	var err error
	if c.input, err = c.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	output, err := c.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := c.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.command.Process.Kill() })
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil {
		t.Fatalf("the cluster did not come up: %v", err)
	}
	if err := json.Unmarshal(line, c); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	t.Logf("ready after %s", time.Since(began).Round(time.Millisecond))
	return c
}

// try runs kubectl as the user and returns what it prints.
func (c *cluster) try(user string, args ...string) (string, error) {
	command := exec.Command(c.binary, append([]string{"kubectl", "--kubeconfig", c.Kubeconfigs[user]}, args...)...)
	output, err := command.CombinedOutput()
	return strings.TrimSpace(string(output)), err
}

func (c *cluster) kubectl(args ...string) string {
	c.t.Helper()
	output, err := c.try("admin", args...)
	if err != nil {
		c.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return output
}

func (c *cluster) apply(manifest string) {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.kubectl("apply", "-f", path)
}

// eventually waits until kubectl prints what is wanted.
func (c *cluster) eventually(limit time.Duration, wanted string, args ...string) {
	c.t.Helper()
	deadline, output := time.Now().Add(limit), ""
	for time.Now().Before(deadline) {
		if output, _ = c.try("admin", args...); output == wanted {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	c.t.Fatalf("kubectl %s: wanted %q within %s, got %q", strings.Join(args, " "), wanted, limit, output)
}

// ask posts to the control endpoint and returns the answer.
func (c *cluster) ask(path string) map[string]any {
	c.t.Helper()
	response, err := http.Post(c.Control+path, "", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		c.t.Fatalf("%s: %v", path, err)
	}
	if response.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: %s: %v", path, response.Status, answer["error"])
	}
	return answer
}

// gone fails the test unless everything that the cluster started, and its directory, goes away.
func (c *cluster) gone(limit time.Duration) {
	c.t.Helper()
	deadline, left := time.Now().Add(limit), []string(nil)
	for time.Now().Before(deadline) {
		if left = c.leftovers(); len(left) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.t.Fatalf("left behind: %v", left)
}

func (c *cluster) leftovers() []string {
	var left []string
	if _, err := os.Stat(c.Dir); !errors.Is(err, os.ErrNotExist) {
		left = append(left, c.Dir)
	}
	for name, pid := range c.PIDs {
		if syscall.Kill(pid, 0) == nil {
			left = append(left, name)
		}
	}
	// A pod's process has the cluster's directory in its environment or its arguments.
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		environment, _ := os.ReadFile(file)
		arguments, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if strings.Contains(string(environment), c.Dir) || strings.Contains(string(arguments), c.Dir) {
			left = append(left, strings.ReplaceAll(string(arguments), "\x00", " "))
		}
	}
	return left
}

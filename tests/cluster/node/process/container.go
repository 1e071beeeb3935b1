package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.dev/tests/cluster/spawn"
)

// container runs one container of a pod, again and again as its restart policy says. What it has to report stands in
// status, which the pod's lock guards.
type container struct {
	pod    *pod
	spec   *corev1.Container
	policy corev1.RestartPolicy

	status   corev1.ContainerStatus
	output   *Output // of the run now or of the last one
	previous *Output
	// What probes have found in this run.
	started, ready bool

	over bool // it ended while the node was lost, and must not start again

	launched chan struct{} // closed when the container has started (and its startup probe succeeded) for the first time
	backoff  backoff
}

func newContainer(p *pod, spec *corev1.Container, policy corev1.RestartPolicy, reason string) *container {
	no := false
	return &container{
		pod: p, spec: spec, policy: policy,
		status: corev1.ContainerStatus{
			Name: spec.Name, Image: spec.Image, Started: &no,
			State: waiting(reason, ""),
		},
		launched: make(chan struct{}),
		backoff:  backoff{first: p.machine.settings.FirstBackoff, longest: p.machine.settings.LongestBackoff},
	}
}

// The waiting reasons of a kubelet.
const (
	reasonCreating    = "ContainerCreating"
	reasonInitialize  = "PodInitializing"
	reasonPullError   = "ErrImagePull"
	reasonPullBackoff = "ImagePullBackOff"
	reasonConfigError = "CreateContainerConfigError"
	reasonCreateError = "CreateContainerError"
	reasonCrash       = "CrashLoopBackOff"
)

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// run runs the container until it is done for good or the context ends. When stop ends, the container is asked to
// terminate; when the context ends, its processes are killed and nothing is noted any more.
func (c *container) run(ctx context.Context, stop *stopper) {
	if c.over {
		return
	}
	for {
		plan, ok := c.prepare(ctx, stop)
		if !ok {
			return
		}
		began := time.Now()
		ended := c.runOnce(ctx, stop, plan)
		if ctx.Err() != nil {
			return
		}
		if stop.asked() || !c.again(ended.ExitCode) {
			c.pod.change(func() {
				c.status.State = corev1.ContainerState{Terminated: ended}
			})
			return
		}
		pause := c.backoff.pause(time.Since(began))
		c.pod.change(func() {
			c.status.LastTerminationState = corev1.ContainerState{Terminated: ended}
			c.status.State = corev1.ContainerState{Terminated: ended}
			if pause > 0 {
				c.status.State = waiting(reasonCrash, fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
					pause, c.spec.Name, c.pod.namespace, c.pod.name, c.pod.uid))
			}
		})
		if pause > 0 {
			c.pod.event(corev1.EventTypeWarning, "BackOff", "Back-off restarting failed container %s", c.spec.Name)
			if !c.rest(ctx, stop, pause) {
				return
			}
		}
		c.pod.change(func() { c.status.RestartCount++ })
	}
}

func (c *container) again(exitCode int32) bool {
	switch c.policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return exitCode != 0
	case corev1.RestartPolicyAlways:
		return true
	}
	return true
}

// rest waits; false when the container is to stop instead.
func (c *container) rest(ctx context.Context, stop *stopper, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-stop.begun:
		return false
	case <-time.After(d):
		return true
	}
}

// prepare works out how to start the container, and says what is missing for as long as something is. False when the
// container is to stop before it could start.
func (c *container) prepare(ctx context.Context, stop *stopper) (launchPlan, bool) {
	entrypoint, known := c.pod.machine.settings.Images.entrypoint(c.spec.Image)
	if !known {
		message := fmt.Sprintf("no command stands for image %q: start the cluster with --image %s=COMMAND, or name it %s...", c.spec.Image, repository(c.spec.Image), localPrefix)
		c.pod.event(corev1.EventTypeWarning, "Failed", "Failed to pull image: %s", message)
		c.pod.change(func() { c.status.State = waiting(reasonPullError, message) })
		if !c.rest(ctx, stop, time.Second) {
			return launchPlan{}, false
		}
		c.pod.event(corev1.EventTypeWarning, "BackOff", "Back-off pulling image %q", c.spec.Image)
		c.pod.change(func() {
			c.status.State = waiting(reasonPullBackoff, fmt.Sprintf("Back-off pulling image %q: %s", c.spec.Image, message))
		})
		// Neither the image's name nor the mapping can change.
		select {
		case <-ctx.Done():
		case <-stop.begun:
		}
		return launchPlan{}, false
	}
	reported := ""
	for {
		plan, reason, err := c.resolve(ctx, entrypoint)
		if err == nil {
			return plan, true
		}
		if ctx.Err() != nil {
			return launchPlan{}, false
		}
		if reported != err.Error() {
			reported = err.Error()
			c.pod.event(corev1.EventTypeWarning, "Failed", "Error: %v", err)
			c.pod.change(func() { c.status.State = waiting(reason, err.Error()) })
		}
		if !c.rest(ctx, stop, time.Second) {
			return launchPlan{}, false
		}
	}
}

// runOnce starts the container's process and returns how it ended.
func (c *container) runOnce(ctx context.Context, stop *stopper, plan launchPlan) *corev1.ContainerStateTerminated {
	began := metav1.Now()
	command := plan.make(plan.command)
	output, ended, err := c.launch(command)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = fmt.Errorf("%s: %w", path.Path, path.Err)
		}
		c.pod.event(corev1.EventTypeWarning, "Failed", "Error: %v", err)
		return &corev1.ContainerStateTerminated{
			ExitCode: 128, Reason: "StartError", Message: err.Error(),
			StartedAt: began, FinishedAt: metav1.Now(),
		}
	}
	pid := command.Process.Pid
	identity := fmt.Sprintf("process://%s/%s/%d", c.pod.uid, c.spec.Name, pid)
	probes, endProbes := context.WithCancel(ctx)
	defer endProbes()
	failed := make(chan string, 2) // liveness or startup probe

	c.pod.change(func() {
		c.previous, c.output = c.output, output
		c.status.ContainerID = identity
		c.status.ImageID = "process://" + c.spec.Image
		c.status.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: began}}
		c.started = c.spec.StartupProbe == nil
		c.ready = c.started && c.spec.ReadinessProbe == nil
		c.noteLaunched()
	})
	c.startProbes(probes, &plan, failed)

	select {
	case <-ended:
	case <-ctx.Done():
		spawn.Signal(pid, syscall.SIGKILL)
		<-ended
	case <-stop.begun:
		c.terminate(ctx, &plan, command, ended, stop.remaining, "")
	case message := <-failed:
		limit := time.Now().Add(c.pod.grace())
		c.terminate(ctx, &plan, command, ended, func() time.Duration { return min(time.Until(limit), stop.remaining()) }, message)
	}
	endProbes()
	spawn.Signal(pid, syscall.SIGKILL) // What it left behind in its group.
	if ctx.Err() != nil {
		return &corev1.ContainerStateTerminated{}
	}
	c.pod.change(func() { c.started, c.ready = false, false })
	if !output.waitEnd(100 * time.Millisecond) {
		// Somebody left the process group and still writes. In a real container nothing outlives the first process.
		spawn.KillMarked(c.mark())
		if !output.waitEnd(time.Second) {
			output.abandon()
		}
	}
	code := int32(spawn.ExitCode(command.ProcessState))
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	return &corev1.ContainerStateTerminated{
		ExitCode: code, Reason: reason, StartedAt: began, FinishedAt: metav1.Now(), ContainerID: identity,
	}
}

// noteLaunched tells who waits for the container that it has started. The pod's lock is held.
func (c *container) noteLaunched() {
	if !c.started {
		return
	}
	select {
	case <-c.launched:
	default:
		close(c.launched)
	}
}

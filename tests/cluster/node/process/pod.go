package process

import (
	"context"
	"errors"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tidegate.dev/tests/cluster/node"
)

// pod runs the containers of one pod and reports on them.
type pod struct {
	machine         *Machine
	namespace, name string
	uid             types.UID
	address         string

	stop         *stopper // for init containers and containers
	stopSidecars *stopper
	cancel       context.CancelFunc // kills everything at once; nothing is reported any more
	finished     chan struct{}      // closed when no container will run again
	done         chan struct{}      // closed when nothing of the pod is left on this machine
	dirty        chan struct{}      // something to report

	mu             sync.Mutex
	object         *corev1.Pod // as last seen
	containers     []*container
	init           []*container // sidecars too
	initialized    bool
	vanished       bool // it is no longer in the API
	began          metav1.Time
	conditions     []corev1.PodCondition
	written        *corev1.PodStatus
	writtenVersion string
}

func newPod(m *Machine, object *corev1.Pod, address string) *pod {
	p := &pod{
		machine: m, namespace: object.Namespace, name: object.Name, uid: object.UID, address: address, object: object,
		stop: newStopper(), stopSidecars: newStopper(),
		finished: make(chan struct{}), done: make(chan struct{}), dirty: make(chan struct{}, 1),
		began: metav1.Now(),
	}
	policy := object.Spec.RestartPolicy
	reason := reasonCreating
	if len(object.Spec.InitContainers) > 0 {
		reason = reasonInitialize
	}
	for i := range object.Spec.InitContainers {
		spec := &object.Spec.InitContainers[i]
		// An init container has to succeed, so Always means for it what OnFailure means.
		initPolicy := corev1.RestartPolicyOnFailure
		if policy == corev1.RestartPolicyNever {
			initPolicy = corev1.RestartPolicyNever
		}
		if isSidecar(spec) {
			initPolicy = corev1.RestartPolicyAlways
		}
		p.init = append(p.init, newContainer(p, spec, initPolicy, reason))
	}
	for i := range object.Spec.Containers {
		p.containers = append(p.containers, newContainer(p, &object.Spec.Containers[i], policy, reason))
	}
	p.rememberRuns(object)
	return p
}

func isSidecar(spec *corev1.Container) bool {
	return spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// rememberRuns takes over what was reported about containers before the node was lost: their runs have ended, and
// nobody saw how.
func (p *pod) rememberRuns(object *corev1.Pod) {
	if object.Status.StartTime != nil {
		p.began = *object.Status.StartTime
	}
	for _, before := range object.Status.ContainerStatuses {
		for _, c := range p.containers {
			if c.spec.Name != before.Name || before.ContainerID == "" {
				continue
			}
			ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: 255, Reason: "Unknown", FinishedAt: metav1.Now(), ContainerID: before.ContainerID,
			}}
			c.status.RestartCount = before.RestartCount + 1
			c.status.LastTerminationState = ended
			if c.policy == corev1.RestartPolicyNever {
				c.status.State = ended
				c.status.RestartCount = before.RestartCount
				c.status.LastTerminationState = corev1.ContainerState{}
				c.over = true
			}
		}
	}
}

// live runs the pod until nothing of it is left.
func (p *pod) live(ctx context.Context) {
	defer close(p.done)
	go p.run(ctx)
	p.report(ctx)
	<-p.finished
	p.machine.settings.Addresses.free(p.address)
	if err := os.RemoveAll(p.path()); err != nil {
		log.Printf("pod %s/%s: removing its directory: %v", p.namespace, p.name, err)
	}
}

// run runs init containers one after the other, then the containers, and closes finished.
func (p *pod) run(ctx context.Context) {
	defer close(p.finished)
	var sidecars sync.WaitGroup
	defer sidecars.Wait()
	// Sidecars end last. They may take what is left of the time, and a moment in any case.
	defer func() {
		p.stopSidecars.ask(time.Now().Add(max(min(p.stop.remaining(), p.grace()), time.Second)))
	}()

	if !p.fillVolumes(ctx) {
		return
	}
	for _, c := range p.init {
		if isSidecar(c.spec) {
			sidecars.Go(func() { c.run(ctx, p.stopSidecars) })
			select {
			case <-c.launched:
			case <-p.stop.begun:
			case <-ctx.Done():
			}
		} else {
			c.run(ctx, p.stop)
		}
		if ctx.Err() != nil || p.stop.asked() || p.failedInit(c) {
			return
		}
	}
	p.change(func() {
		p.initialized = true
		for _, c := range p.containers {
			if c.status.State.Waiting != nil {
				c.status.State.Waiting.Reason = reasonCreating
			}
		}
	})
	var containers sync.WaitGroup
	for _, c := range p.containers {
		containers.Go(func() { c.run(ctx, p.stop) })
	}
	containers.Wait()
}

func (p *pod) failedInit(c *container) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	ended := c.status.State.Terminated
	return ended != nil && ended.ExitCode != 0
}

// fillVolumes makes the volumes, and tries for as long as something is missing; false when the pod is to end instead.
func (p *pod) fillVolumes(ctx context.Context) bool {
	object, reported := p.current(), ""
	for i := range object.Spec.Volumes {
		volume := &object.Spec.Volumes[i]
		for {
			err := fillVolume(p.volumeDirectory(volume.Name), volume, object, p.address, p.configs(ctx))
			if err == nil {
				break
			}
			if reported != err.Error() {
				reported = err.Error()
				p.event(corev1.EventTypeWarning, "FailedMount", "MountVolume.SetUp failed for volume %q : %v", volume.Name, err)
			}
			select {
			case <-ctx.Done():
				return false
			case <-p.stop.begun:
				return false
			case <-time.After(time.Second):
			}
		}
	}
	return true
}

// report writes the pod's status whenever it has changed, until the pod is gone or the context ends.
func (p *pod) report(ctx context.Context) {
	finished := p.finished
	for {
		select {
		case <-ctx.Done():
			return
		case <-finished:
			finished = nil
		case <-p.dirty:
		}
		p.mu.Lock()
		status := p.statusNow()
		same := p.written != nil && node.Same(status, p.written)
		object, vanished := p.object, p.vanished
		p.mu.Unlock()
		if !same && !vanished {
			stored, err := p.machine.settings.Reporter.Report(ctx, object, status)
			switch {
			case err == nil:
				p.mu.Lock()
				p.written, p.writtenVersion = status, stored.ResourceVersion
				p.mu.Unlock()
			case errors.Is(err, node.ErrGone):
				p.vanish()
				vanished = true
			case ctx.Err() != nil:
				return
			default:
				log.Printf("pod %s/%s: reporting its status: %v", p.namespace, p.name, err)
			}
		}
		if finished != nil {
			continue
		}
		if vanished {
			return
		}
		if object.DeletionTimestamp != nil {
			if err := p.machine.settings.Reporter.Remove(ctx, object); err != nil && ctx.Err() == nil {
				log.Printf("pod %s/%s: removing it: %v", p.namespace, p.name, err)
			}
			return
		}
	}
}

// observe takes in the pod as it is now.
func (p *pod) observe(object *corev1.Pod) {
	p.mu.Lock()
	gates := len(object.Spec.ReadinessGates) > 0
	p.object = object
	if node.Drifted(object, p.writtenVersion, p.written) {
		p.written = nil
		gates = true
	}
	p.mu.Unlock()
	if object.DeletionTimestamp != nil {
		grace := int64(0)
		if object.DeletionGracePeriodSeconds != nil {
			grace = *object.DeletionGracePeriodSeconds
		}
		p.stop.ask(time.Now().Add(time.Duration(grace) * time.Second))
		p.change(func() {})
	} else if gates {
		p.change(func() {})
	}
}

// vanish ends a pod that is no longer in the API: there is nobody to report to, and little time.
func (p *pod) vanish() {
	p.stop.ask(time.Now().Add(time.Second))
	p.change(func() { p.vanished = true })
}

// change changes what the pod has to report.
func (p *pod) change(change func()) {
	p.mu.Lock()
	change()
	p.mu.Unlock()
	select {
	case p.dirty <- struct{}{}:
	default:
	}
}

func (p *pod) current() *corev1.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.object
}

// grace is how long a container of this pod may take to end.
func (p *pod) grace() time.Duration {
	if s := p.current().Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return 30 * time.Second
}

func (p *pod) path(elements ...string) string {
	return filepath.Join(append([]string{p.machine.settings.Dir, string(p.uid)}, elements...)...)
}

func (p *pod) volumeDirectory(volume string) string {
	return p.path("volumes", volume)
}

func (p *pod) event(kind, reason, format string, arguments ...any) {
	p.machine.settings.Events.Eventf(p.current(), kind, reason, format, arguments...)
}

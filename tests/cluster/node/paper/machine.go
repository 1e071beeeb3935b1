// Package paper is a node that runs nothing: it only reports what the annotations of its pods ask for, so that ten
// thousand pods cost little. No process, no log, no probe.
package paper

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"tidegate.dev/tests/cluster/node"
)

// Desk writes the reports of all paper nodes, a bounded number at a time.
type Desk struct {
	reporter  *node.Reporter
	queue     workqueue.TypedDelayingInterface[ticket]
	addresses atomic.Uint32
}

type ticket struct {
	machine *Machine
	uid     types.UID
}

// NewDesk starts the desk's writers, which work until the context ends.
func NewDesk(ctx context.Context, reporter *node.Reporter, writers int) *Desk {
	d := &Desk{reporter: reporter, queue: workqueue.NewTypedDelayingQueue[ticket]()}
	for range writers {
		go func() {
			for {
				t, shutdown := d.queue.Get()
				if shutdown {
					return
				}
				t.machine.work(ctx, t)
				d.queue.Done(t)
			}
		}()
	}
	go func() {
		<-ctx.Done()
		d.queue.ShutDown()
	}()
	return d
}

// nextAddress counts through 10.9.0.0/16 and then the networks after it.
func (d *Desk) nextAddress() string {
	n := d.addresses.Add(1) - 1
	return fmt.Sprintf("10.%d.%d.%d", 9+n/(254*254)%200, n/254%254+1, n%254+1)
}

// Machine is one paper node.
type Machine struct {
	desk *Desk

	mu   sync.Mutex
	pods map[types.UID]*entry
}

// entry is guarded by its machine's lock.
type entry struct {
	pod            *corev1.Pod
	facts          facts
	written        *corev1.PodStatus
	writtenVersion string
}

// NewMachine makes a paper node that reports through the desk.
func NewMachine(desk *Desk) *Machine {
	return &Machine{desk: desk, pods: map[types.UID]*entry{}}
}

// Observe notes the pod; the desk does the rest.
func (m *Machine) Observe(pod *corev1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, known := m.pods[pod.UID]
	if !known {
		if ended(pod) && pod.DeletionTimestamp == nil {
			return
		}
		e = &entry{facts: facts{address: m.desk.nextAddress(), began: time.Now()}}
		m.pods[pod.UID] = e
	}
	deletedNow := pod.DeletionTimestamp != nil && e.facts.deleted.IsZero()
	if deletedNow {
		e.facts.deleted = time.Now()
	}
	if node.Drifted(pod, e.writtenVersion, e.written) {
		e.written = nil
	}
	e.pod = pod
	if !known || deletedNow || e.written == nil {
		m.desk.queue.Add(ticket{m, pod.UID})
	}
}

// Forget drops the pod.
func (m *Machine) Forget(pod *corev1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.pods, pod.UID)
}

// Lose forgets everything: nothing more is reported.
func (m *Machine) Lose() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pods = map[types.UID]*entry{}
}

// Return begins all pods again, each with one restart more.
func (m *Machine) Return(pods []*corev1.Pod) {
	for _, pod := range pods {
		m.Observe(pod)
		m.mu.Lock()
		if e, ok := m.pods[pod.UID]; ok {
			for _, c := range pod.Status.ContainerStatuses {
				e.facts.restarts = max(e.facts.restarts, int(c.RestartCount)+1)
			}
		}
		m.mu.Unlock()
	}
}

// work does what is due for one pod. The queue never hands the same ticket to two writers.
func (m *Machine) work(ctx context.Context, t ticket) {
	m.mu.Lock()
	e, ok := m.pods[t.uid]
	if !ok {
		m.mu.Unlock()
		return
	}
	pod, now := e.pod, time.Now()
	next := plan(pod, e.facts, now)
	unchanged := next.status != nil && e.written != nil && node.Same(next.status, e.written)
	m.mu.Unlock()

	if !next.again.IsZero() {
		m.desk.queue.AddAfter(t, next.again.Sub(now))
	}
	switch {
	case next.remove:
		if err := m.desk.reporter.Remove(ctx, pod); err != nil && ctx.Err() == nil {
			log.Printf("paper pod %s/%s: removing it: %v", pod.Namespace, pod.Name, err)
		}
	case next.status != nil && !unchanged:
		stored, err := m.desk.reporter.Report(ctx, pod, next.status)
		if errors.Is(err, node.ErrGone) || ctx.Err() != nil {
			return
		}
		if err != nil {
			log.Printf("paper pod %s/%s: reporting its status: %v", pod.Namespace, pod.Name, err)
			return
		}
		m.mu.Lock()
		if m.pods[t.uid] == e {
			e.written, e.writtenVersion = next.status, stored.ResourceVersion
		}
		m.mu.Unlock()
	}
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// Package node plays the nodes of a cluster: their Node objects, their heartbeats, and the watch that tells each of
// them of its pods. How a pod is run is for the packages below it.
package node

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Machine runs the pods of one node. Calls come one at a time and must not block.
type Machine interface {
	// Observe tells of a pod that is new or has changed.
	Observe(pod *corev1.Pod)
	// Forget tells of a pod that is no longer in the API.
	Forget(pod *corev1.Pod)
	// Lose ends everything that runs, at once and without a word to the API server.
	Lose()
	// Return starts again after Lose, with the pods that the node has now.
	Return(pods []*corev1.Pod)
}

type member struct {
	heartbeat *heartbeat
	machine   Machine
	lost      bool
}

// Fleet is all nodes of the cluster. They share one watch of all pods that have a node.
type Fleet struct {
	client   kubernetes.Interface
	informer cache.SharedIndexInformer

	mu      sync.Mutex // also keeps Lose and Return apart from what the watch tells
	members map[string]*member
	order   []string
}

// State is what the control endpoint says about a node.
type State struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	Lost bool   `json:"lost"`
}

const byNode = "node"

// NewFleet makes a fleet without nodes.
func NewFleet(client kubernetes.Interface) (*Fleet, error) {
	pods := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "pods", corev1.NamespaceAll,
		fields.OneTermNotEqualSelector("spec.nodeName", ""))
	f := &Fleet{
		client:  client,
		members: map[string]*member{},
		informer: cache.NewSharedIndexInformer(pods, &corev1.Pod{}, 0, cache.Indexers{
			byNode: func(object any) ([]string, error) { return []string{object.(*corev1.Pod).Spec.NodeName}, nil },
		}),
	}
	// Nobody here reads managed fields, and for thousands of pods they are most of the memory.
	if err := f.informer.SetTransform(func(object any) (any, error) {
		if pod, ok := object.(*corev1.Pod); ok {
			pod.ManagedFields = nil
		}
		return object, nil
	}); err != nil {
		return nil, err
	}
	_, err := f.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { f.tell(object, Machine.Observe) },
		UpdateFunc: func(_, object any) { f.tell(object, Machine.Observe) },
		DeleteFunc: func(object any) {
			if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = unknown.Obj
			}
			f.tell(object, Machine.Forget)
		},
	})
	return f, err
}

// Add adds a node. Call it before Run.
func (f *Fleet) Add(name, kind string, pods, kubeletPort int, machine Machine) {
	f.members[name] = &member{heartbeat: newHeartbeat(f.client, name, kind, pods, kubeletPort), machine: machine}
	f.order = append(f.order, name)
}

// Run registers all nodes, then watches and reports until the context ends.
func (f *Fleet) Run(ctx context.Context) error {
	go f.informer.Run(ctx.Done())
	for _, name := range f.order {
		if err := f.members[name].heartbeat.register(ctx); err != nil {
			return fmt.Errorf("registering node %s: %w", name, err)
		}
		go f.members[name].heartbeat.beat(ctx)
	}
	return nil
}

// Lose makes the node fall silent and kills what it runs.
func (f *Fleet) Lose(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, err := f.member(name)
	if err != nil {
		return err
	}
	m.heartbeat.hush()
	if !m.lost {
		m.lost = true
		m.machine.Lose()
	}
	return nil
}

// Return brings a lost node back, as after a power cut: its pods start again.
func (f *Fleet) Return(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, err := f.member(name)
	if err != nil {
		return err
	}
	if m.lost {
		m.lost = false
		objects, err := f.informer.GetIndexer().ByIndex(byNode, name)
		if err != nil {
			return err
		}
		pods := make([]*corev1.Pod, 0, len(objects))
		for _, object := range objects {
			pods = append(pods, object.(*corev1.Pod))
		}
		m.machine.Return(pods)
	}
	m.heartbeat.speak()
	return nil
}

// States says how the nodes are, in the order in which they were added.
func (f *Fleet) States() []State {
	f.mu.Lock()
	defer f.mu.Unlock()
	states := make([]State, 0, len(f.order))
	for _, name := range f.order {
		states = append(states, State{Name: name, Kind: f.members[name].heartbeat.kind, Lost: f.members[name].lost})
	}
	return states
}

func (f *Fleet) member(name string) (*member, error) {
	m, ok := f.members[name]
	if !ok {
		return nil, fmt.Errorf("there is no node %q: the nodes are %v", name, f.order)
	}
	return m, nil
}

func (f *Fleet) tell(object any, event func(Machine, *corev1.Pod)) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if m, ok := f.members[pod.Spec.NodeName]; ok && !m.lost {
		event(m.machine, pod)
	}
}

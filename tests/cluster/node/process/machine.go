// Package process is a node that runs the containers of its pods as processes of this machine: each pod with an
// address of its own in 127.0.0.0/8, with environment, volumes, probes, restarts, logs and a graceful end as a kubelet
// gives them. There is no isolation: no images, no namespaces, no limits.
package process

import (
	"context"
	"log"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"tidegate.dev/tests/cluster/node"
)

// Settings are what all process nodes of a cluster share.
type Settings struct {
	Dir            string // where pods have their directories
	Mark           string // spawn.ClusterMark of this cluster
	Images         Images
	Addresses      *Addresses
	Reporter       *node.Reporter
	Events         record.EventRecorder
	FirstBackoff   time.Duration
	LongestBackoff time.Duration
}

// Machine is one process node.
type Machine struct {
	settings *Settings
	ctx      context.Context

	mu   sync.Mutex
	lost bool
	pods map[types.UID]*pod
}

// NewMachine makes a process node. The end of the context kills everything on it.
func NewMachine(ctx context.Context, settings *Settings) *Machine {
	return &Machine{settings: settings, ctx: ctx, pods: map[types.UID]*pod{}}
}

// Observe starts a new pod, or tells a running one what has changed.
func (m *Machine) Observe(object *corev1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p, known := m.pods[object.UID]; known {
		p.observe(object)
		return
	}
	over := object.Status.Phase == corev1.PodSucceeded || object.Status.Phase == corev1.PodFailed
	if object.DeletionTimestamp != nil {
		// Nothing of it runs here.
		go func() {
			if err := m.settings.Reporter.Remove(m.ctx, object); err != nil && m.ctx.Err() == nil {
				log.Printf("pod %s/%s: removing it: %v", object.Namespace, object.Name, err)
			}
		}()
		return
	}
	if over {
		return
	}
	address, err := m.settings.Addresses.take()
	if err != nil {
		m.settings.Events.Eventf(object, corev1.EventTypeWarning, "FailedCreatePodSandBox", "%v", err)
		log.Printf("pod %s/%s does not start: %v", object.Namespace, object.Name, err)
		return
	}
	p := newPod(m, object, address)
	ctx, cancel := context.WithCancel(m.ctx)
	p.cancel = cancel
	m.pods[object.UID] = p
	p.change(func() {})
	go p.live(ctx)
}

// Forget ends a pod that is no longer in the API.
func (m *Machine) Forget(object *corev1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p, known := m.pods[object.UID]; known {
		delete(m.pods, object.UID)
		p.vanish()
	}
}

// Lose kills all processes.
func (m *Machine) Lose() {
	m.mu.Lock()
	pods := m.pods
	m.pods, m.lost = map[types.UID]*pod{}, true
	m.mu.Unlock()
	for _, p := range pods {
		p.cancel()
	}
	for _, p := range pods {
		<-p.done
	}
}

// Return starts the pods that the node has now.
func (m *Machine) Return(objects []*corev1.Pod) {
	m.mu.Lock()
	m.lost = false
	m.mu.Unlock()
	for _, object := range objects {
		m.Observe(object)
	}
}

// find finds a pod by its name; lost says that the node answers nobody.
func (m *Machine) find(namespace, name string) (found *pod, lost bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.pods {
		if p.namespace == namespace && p.name == name {
			return p, m.lost
		}
	}
	return nil, m.lost
}

// Wait waits until nothing of any pod is left, after the end of the context.
func (m *Machine) Wait() {
	m.mu.Lock()
	pods := make([]*pod, 0, len(m.pods))
	for _, p := range m.pods {
		pods = append(pods, p)
	}
	m.mu.Unlock()
	for _, p := range pods {
		<-p.done
	}
}

// apiConfigs reads ConfigMaps and Secrets of one namespace from the API server.
type apiConfigs struct {
	ctx       context.Context
	reporter  *node.Reporter
	namespace string
}

func (p *pod) configs(ctx context.Context) Configs {
	return apiConfigs{ctx, p.machine.settings.Reporter, p.namespace}
}

func (a apiConfigs) ConfigMap(name string) (*corev1.ConfigMap, bool, error) {
	object, err := a.reporter.Client.CoreV1().ConfigMaps(a.namespace).Get(a.ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, false, nil
	}
	return object, err == nil, err
}

func (a apiConfigs) Secret(name string) (*corev1.Secret, bool, error) {
	object, err := a.reporter.Client.CoreV1().Secrets(a.namespace).Get(a.ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, false, nil
	}
	return object, err == nil, err
}

package node

import (
	"context"
	"encoding/json"
	"log"
	"runtime"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-base/version"
)

// KindLabel is the label of a Node that says how it runs pods; a pod chooses with a nodeSelector.
const KindLabel = "tidegate.dev/node"

const (
	// HostAddress is the InternalIP of every node.
	HostAddress = "127.0.0.1"

	leaseNamespace = "kube-node-lease"
	leaseSeconds   = 6
	renewEvery     = 1500 * time.Millisecond
	statusEvery    = 10 * time.Second
)

// heartbeat keeps one Node object alive: a Lease often, its status sometimes. It knows nothing of pods.
type heartbeat struct {
	client      kubernetes.Interface
	name        string
	kind        string
	pods        int
	kubeletPort int
	silent      atomic.Bool
	wake        chan struct{} // something to report at once
}

func newHeartbeat(client kubernetes.Interface, name, kind string, pods, kubeletPort int) *heartbeat {
	return &heartbeat{client: client, name: name, kind: kind, pods: pods, kubeletPort: kubeletPort, wake: make(chan struct{}, 1)}
}

// register creates the Node object, as often as it takes.
func (h *heartbeat) register(ctx context.Context) error {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: h.name, Labels: map[string]string{
			KindLabel:              h.kind,
			corev1.LabelHostname:   h.name,
			corev1.LabelOSStable:   "linux",
			corev1.LabelArchStable: runtime.GOARCH,
		}},
		Status: h.status(time.Now()),
	}
	for {
		try, cancel := context.WithTimeout(ctx, callTimeout)
		_, err := h.client.CoreV1().Nodes().Create(try, node, metav1.CreateOptions{FieldManager: ManagerName})
		cancel()
		if err == nil || apierrors.IsAlreadyExists(err) {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// beat reports until the context ends.
func (h *heartbeat) beat(ctx context.Context) {
	var lease *coordinationv1.Lease
	var reported time.Time
	failing := false
	for {
		if !h.silent.Load() {
			renewed, err := h.renew(ctx, lease)
			if err != nil && ctx.Err() == nil && !failing {
				log.Printf("node %s: renewing its lease: %v (trying on)", h.name, err)
			}
			if err == nil && failing {
				reported = time.Time{} // The API server was away: say at once that this node is fine.
			}
			lease, failing = renewed, err != nil
			if !failing && time.Since(reported) >= statusEvery {
				if err := h.patchStatus(ctx); err == nil {
					reported = time.Now()
				}
			}
		}
		wait := renewEvery
		if failing {
			wait = 200 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
			reported = time.Time{}
		case <-time.After(wait):
		}
	}
}

func (h *heartbeat) hush() { h.silent.Store(true) }

func (h *heartbeat) speak() {
	h.silent.Store(false)
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// renew returns the lease as it is now, or nil when it must be read anew.
func (h *heartbeat) renew(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	leases := h.client.CoordinationV1().Leases(leaseNamespace)
	if lease == nil {
		existing, err := leases.Get(ctx, h.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			existing, err = leases.Create(ctx, h.lease(), metav1.CreateOptions{FieldManager: ManagerName})
		}
		return existing, err
	}
	next := lease.DeepCopy()
	now := metav1.NowMicro()
	next.Spec.RenewTime = &now
	updated, err := leases.Update(ctx, next, metav1.UpdateOptions{FieldManager: ManagerName})
	if err != nil {
		return nil, err
	}
	return updated, nil
}

func (h *heartbeat) lease() *coordinationv1.Lease {
	now := metav1.NowMicro()
	seconds := int32(leaseSeconds)
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: h.name, Namespace: leaseNamespace},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &h.name, LeaseDurationSeconds: &seconds, RenewTime: &now},
	}
}

func (h *heartbeat) patchStatus(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	node, err := h.client.CoreV1().Nodes().Get(ctx, h.name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	status := h.status(time.Now())
	for i, condition := range status.Conditions {
		for _, existing := range node.Status.Conditions {
			if existing.Type == condition.Type && existing.Status == condition.Status {
				status.Conditions[i].LastTransitionTime = existing.LastTransitionTime
			}
		}
	}
	body, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": status.Conditions}})
	if err != nil {
		return err
	}
	_, err = h.client.CoreV1().Nodes().Patch(ctx, h.name, types.StrategicMergePatchType, body,
		metav1.PatchOptions{FieldManager: ManagerName}, "status")
	return err
}

func (h *heartbeat) status(now time.Time) corev1.NodeStatus {
	at := metav1.NewTime(now)
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
		return corev1.NodeCondition{
			Type: kind, Status: status, Reason: reason, Message: message,
			LastHeartbeatTime: at, LastTransitionTime: at,
		}
	}
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("64"),
		corev1.ResourceMemory:           resource.MustParse("256Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
		corev1.ResourcePods:             *resource.NewQuantity(int64(h.pods), resource.DecimalSI),
	}
	return corev1.NodeStatus{
		Capacity:    capacity,
		Allocatable: capacity,
		Conditions: []corev1.NodeCondition{
			condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", ""),
			condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", ""),
			condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", ""),
			condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "this "+h.kind+" node is a part of tidegate-cluster"),
		},
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: HostAddress},
			{Type: corev1.NodeHostName, Address: h.name},
		},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(h.kubeletPort)}},
		NodeInfo: corev1.NodeSystemInfo{
			KubeletVersion:          version.Get().GitVersion,
			ContainerRuntimeVersion: h.kind + "://1.0.0",
			OperatingSystem:         "linux",
			Architecture:            runtime.GOARCH,
			OSImage:                 "tidegate-cluster",
			KernelVersion:           "none",
			MachineID:               h.name,
			SystemUUID:              h.name,
			BootID:                  h.name,
		},
	}
}

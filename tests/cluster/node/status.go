package node

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// ErrGone says that the pod is no longer there, or that another pod has its name.
var ErrGone = errors.New("the pod is gone")

// ManagerName is the field manager of everything that nodes write.
const ManagerName = "tidegate-cluster"

// callTimeout bounds one call to the API server; what failed is tried again.
const callTimeout = 10 * time.Second

// Reporter writes what nodes have to say about pods. It does not decide what that is, and it never touches the
// conditions of others (PodScheduled, DisruptionTarget, readiness gates).
type Reporter struct {
	Client kubernetes.Interface
}

// Report writes the status until it is stored and returns the pod as it is then: ErrGone when there is no such pod,
// the context's error when there is no more time.
func (r *Reporter) Report(ctx context.Context, pod *corev1.Pod, status *corev1.PodStatus) (*corev1.Pod, error) {
	body, err := statusPatch(pod.UID, status)
	if err != nil {
		return nil, err
	}
	return persist(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return r.Client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, body,
			metav1.PatchOptions{FieldManager: ManagerName}, "status")
	})
}

// Remove takes a deleted pod away for good, as a kubelet does when all its containers have ended.
func (r *Reporter) Remove(ctx context.Context, pod *corev1.Pod) error {
	now := int64(0)
	_, err := persist(ctx, func(ctx context.Context) (*corev1.Pod, error) {
		return nil, r.Client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &now,
			Preconditions:      &metav1.Preconditions{UID: &pod.UID},
		})
	})
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}

// persist repeats the call until it succeeds or cannot.
func persist(ctx context.Context, call func(context.Context) (*corev1.Pod, error)) (*corev1.Pod, error) {
	wait := 20 * time.Millisecond
	for {
		try, cancel := context.WithTimeout(ctx, callTimeout)
		pod, err := call(try)
		cancel()
		switch {
		case err == nil:
			return pod, nil
		case apierrors.IsNotFound(err), apierrors.IsConflict(err):
			return nil, ErrGone // A conflict is one of UIDs: the patch names no resource version.
		case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
			return nil, err // It will not become better.
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, time.Second)
	}
}

// statusPatch is a strategic merge patch of the fields that a node owns. Conditions are merged by type, so an empty
// reason or message is written as null: it would otherwise stay as it was.
func statusPatch(uid types.UID, status *corev1.PodStatus) ([]byte, error) {
	conditions := make([]map[string]any, 0, len(status.Conditions))
	for _, c := range status.Conditions {
		conditions = append(conditions, map[string]any{
			"type":               c.Type,
			"status":             c.Status,
			"lastTransitionTime": c.LastTransitionTime,
			"reason":             orNull(c.Reason),
			"message":            orNull(c.Message),
		})
	}
	fields := map[string]any{"phase": status.Phase, "conditions": conditions}
	if status.StartTime != nil {
		fields["startTime"] = status.StartTime
	}
	if status.HostIP != "" {
		fields["hostIP"] = status.HostIP
		fields["hostIPs"] = []corev1.HostIP{{IP: status.HostIP}}
	}
	if status.PodIP != "" {
		fields["podIP"] = status.PodIP
		// The list is merged by address: without the directive, a pod that got a new address would keep the old one too.
		fields["podIPs"] = []any{map[string]string{"ip": status.PodIP}, map[string]string{"$patch": "replace"}}
	}
	if status.Reason != "" {
		fields["reason"] = status.Reason
	}
	if status.Message != "" {
		fields["message"] = status.Message
	}
	if status.ContainerStatuses != nil {
		fields["containerStatuses"] = status.ContainerStatuses
	}
	if status.InitContainerStatuses != nil {
		fields["initContainerStatuses"] = status.InitContainerStatuses
	}
	if status.ObservedGeneration != 0 {
		fields["observedGeneration"] = status.ObservedGeneration
	}
	return json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid}, "status": fields})
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// SetCondition puts the condition into the list; the time of its last transition changes only with its status.
func SetCondition(conditions *[]corev1.PodCondition, condition corev1.PodCondition, now metav1.Time) {
	condition.LastTransitionTime = now
	for i, existing := range *conditions {
		if existing.Type == condition.Type {
			if existing.Status == condition.Status {
				condition.LastTransitionTime = existing.LastTransitionTime
			}
			(*conditions)[i] = condition
			return
		}
	}
	*conditions = append(*conditions, condition)
}

// IsReady says whether a status has Ready=True.
func IsReady(status *corev1.PodStatus) bool {
	for _, c := range status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Same says whether two statuses say the same.
func Same(a, b *corev1.PodStatus) bool {
	return equality.Semantic.DeepEqual(a, b)
}

// Drifted says whether the pod, as it was seen in a watch, differs from what was last written about it: the node
// lifecycle controller marks the pods of a silent node as not Ready, and only their node puts that right. A pod older
// than the last write says nothing.
func Drifted(seen *corev1.Pod, writtenVersion string, written *corev1.PodStatus) bool {
	return written != nil && !olderThan(seen.ResourceVersion, writtenVersion) && IsReady(&seen.Status) != IsReady(written)
}

// olderThan compares resource versions, which Kubernetes promises to be comparable as decimal numbers.
func olderThan(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

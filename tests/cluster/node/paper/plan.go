package paper

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.dev/tests/cluster/node"
)

// The annotations with which a pod says what it wants to be reported as.
const (
	readyAfterAnnotation     = "paper.tidegate.dev/ready-after"     // Go duration, default 1s
	unreadyAfterAnnotation   = "paper.tidegate.dev/unready-after"   // Go duration, default never
	terminateAfterAnnotation = "paper.tidegate.dev/terminate-after" // Go duration, default 200ms
	neverReadyAnnotation     = "paper.tidegate.dev/never-ready"
	crashAnnotation          = "paper.tidegate.dev/crash"
	imageMissingAnnotation   = "paper.tidegate.dev/image-missing"
	exitCodeAnnotation       = "paper.tidegate.dev/exit-code" // of a pod that is not restarted
	messageAnnotation        = "paper.tidegate.dev/termination-message"
)

// facts are what a node remembers of a pod.
type facts struct {
	address  string
	began    time.Time
	deleted  time.Time // when the deletion was seen; zero: it was not
	restarts int       // by the node coming back
}

// step is what should be true of a pod now, and when to look again (zero: when something changes).
type step struct {
	remove bool
	status *corev1.PodStatus
	again  time.Time
}

// plan says what should be true of a pod at the given time. It is a plain function of what it is given.
func plan(pod *corev1.Pod, f facts, now time.Time) step {
	if !f.deleted.IsZero() {
		if end := f.deleted.Add(duration(pod, terminateAfterAnnotation, 200*time.Millisecond)); now.Before(end) {
			return step{again: end}
		}
		return step{remove: true}
	}
	began := metav1.NewTime(f.began.Truncate(time.Second))
	status := &corev1.PodStatus{
		Phase:              corev1.PodRunning,
		HostIP:             node.HostAddress,
		StartTime:          &began,
		ObservedGeneration: pod.Generation,
	}
	if pod.Annotations[imageMissingAnnotation] == "true" {
		status.Phase = corev1.PodPending
		return finish(pod, f, status, containerView{state: waiting("ImagePullBackOff", "the annotation "+imageMissingAnnotation+" says so")}, f.began, time.Time{})
	}
	status.PodIP = f.address
	due := f.began.Add(duration(pod, readyAfterAnnotation, time.Second))
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: began}}
	switch {
	case pod.Annotations[crashAnnotation] == "true":
		view, changed, again := crashing(pod, f, now)
		return finish(pod, f, status, view, changed, again)
	case pod.Annotations[neverReadyAnnotation] == "true":
		return finish(pod, f, status, containerView{state: running, restarts: f.restarts}, f.began, time.Time{})
	case now.Before(due):
		return finish(pod, f, status, containerView{state: running, restarts: f.restarts}, f.began, due)
	case pod.Spec.RestartPolicy == corev1.RestartPolicyAlways || pod.Spec.RestartPolicy == "":
		view := containerView{state: running, ready: true, restarts: f.restarts}
		until := f.began.Add(duration(pod, unreadyAfterAnnotation, 0))
		switch {
		case !until.After(due):
			return finish(pod, f, status, view, due, time.Time{})
		case now.Before(until):
			return finish(pod, f, status, view, due, until)
		}
		view.ready = false
		return finish(pod, f, status, view, until, time.Time{})
	}
	ended := &corev1.ContainerStateTerminated{
		Reason: "Completed", StartedAt: began, FinishedAt: metav1.NewTime(due.Truncate(time.Second)),
		ContainerID: "paper://" + string(pod.UID), Message: pod.Annotations[messageAnnotation],
	}
	status.Phase = corev1.PodSucceeded
	if code := exitCode(pod); code != 0 {
		status.Phase = corev1.PodFailed
		ended.Reason, ended.ExitCode = "Error", code
	}
	return finish(pod, f, status, containerView{state: corev1.ContainerState{Terminated: ended}, restarts: f.restarts}, due, time.Time{})
}

// containerView is what all containers of a pod are said to be.
type containerView struct {
	state    corev1.ContainerState
	last     corev1.ContainerState
	ready    bool
	restarts int
}

// crashing is a container that ends a moment after each start, as it looks at the given time: the pauses between starts
// are 1 s, 2 s, 4 s and so on up to 30 s.
func crashing(pod *corev1.Pod, f facts, now time.Time) (view containerView, changed, again time.Time) {
	const lifetime, longest = 500 * time.Millisecond, 30 * time.Second
	start, pause, restarts := f.began, time.Second, f.restarts
	for {
		end := start.Add(lifetime)
		ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: 1, Reason: "Error", Message: pod.Annotations[messageAnnotation],
			StartedAt:  metav1.NewTime(start.Truncate(time.Second)),
			FinishedAt: metav1.NewTime(end.Truncate(time.Second)),
		}}
		if now.Before(end) {
			view.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(start.Truncate(time.Second))}}
			view.restarts = restarts
			return view, f.began, end
		}
		view.last = ended
		if now.Before(end.Add(pause)) {
			view.state = waiting("CrashLoopBackOff", fmt.Sprintf("back-off %s restarting failed container", pause))
			view.restarts = restarts
			return view, f.began, end.Add(pause)
		}
		start = end.Add(pause)
		pause = min(2*pause, longest)
		restarts++
	}
}

// finish fills in containers and conditions. Readiness last changed at the given time.
func finish(pod *corev1.Pod, f facts, status *corev1.PodStatus, view containerView, changed, again time.Time) step {
	for _, c := range pod.Spec.Containers {
		started := view.state.Running != nil
		one := corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, Ready: view.ready, Started: &started,
			State: view.state, LastTerminationState: view.last, RestartCount: int32(view.restarts),
		}
		if view.state.Waiting == nil {
			one.ImageID = "paper://" + c.Image
			one.ContainerID = "paper://" + string(pod.UID) + "/" + c.Name
		}
		status.ContainerStatuses = append(status.ContainerStatuses, one)
	}
	ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue}
	switch {
	case view.ready:
	case status.Phase == corev1.PodSucceeded:
		ready.Status, ready.Reason = corev1.ConditionFalse, "PodCompleted"
	case status.Phase == corev1.PodFailed:
		ready.Status, ready.Reason = corev1.ConditionFalse, "PodFailed"
	default:
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, "ContainersNotReady", "containers with unready status"
	}
	containers := ready
	containers.Type = corev1.ContainersReady
	at := metav1.NewTime(changed.Truncate(time.Second))
	node.SetCondition(&status.Conditions, corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}, metav1.NewTime(f.began.Truncate(time.Second)))
	node.SetCondition(&status.Conditions, containers, at)
	node.SetCondition(&status.Conditions, ready, at)
	return step{status: status, again: again}
}

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// duration reads an annotation; what cannot be read counts as absent.
func duration(pod *corev1.Pod, annotation string, otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(pod.Annotations[annotation]); err == nil && d >= 0 {
		return d
	}
	return otherwise
}

func exitCode(pod *corev1.Pod) int32 {
	var code int32
	if _, err := fmt.Sscanf(pod.Annotations[exitCodeAnnotation], "%d", &code); err != nil {
		return 0
	}
	return code
}

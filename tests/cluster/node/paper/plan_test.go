package paper

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.dev/tests/cluster/node"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func paperPod(policy corev1.RestartPolicy, annotations map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Annotations: annotations},
		Spec:       corev1.PodSpec{RestartPolicy: policy, Containers: []corev1.Container{{Name: "c", Image: "any:1"}}},
	}
}

func at(pod *corev1.Pod, after time.Duration) step {
	return plan(pod, facts{address: "10.9.1.1", began: began}, began.Add(after))
}

func TestAPodIsReadyWhenItsAnnotationSaysSo(t *testing.T) {
	pod := paperPod(corev1.RestartPolicyAlways, map[string]string{readyAfterAnnotation: "3s"})
	before, after := at(pod, 2*time.Second), at(pod, 3*time.Second)
	if node.IsReady(before.status) || before.status.Phase != corev1.PodRunning || !before.again.Equal(began.Add(3*time.Second)) {
		t.Errorf("before: %+v", before)
	}
	if !node.IsReady(after.status) || !after.again.IsZero() {
		t.Errorf("after: %+v", after)
	}
	if at := after.status.Conditions[1].LastTransitionTime; !at.Time.Equal(began.Add(3 * time.Second)) {
		t.Errorf("it became ready at %s", at)
	}
}

func TestAPodIsNotReadyAnyMoreWhenItsAnnotationSaysSo(t *testing.T) {
	pod := paperPod(corev1.RestartPolicyAlways, map[string]string{unreadyAfterAnnotation: "3s"})
	before, after := at(pod, 2*time.Second), at(pod, 3*time.Second)
	if !node.IsReady(before.status) || !before.again.Equal(began.Add(3*time.Second)) {
		t.Errorf("before: %+v", before)
	}
	if node.IsReady(after.status) || after.status.Phase != corev1.PodRunning || !after.again.IsZero() {
		t.Errorf("after: %+v", after)
	}
	// Not before it was.
	pod.Annotations[readyAfterAnnotation] = "4s"
	if late := at(pod, time.Hour); !node.IsReady(late.status) {
		t.Errorf("late: %+v", late)
	}
}

func TestANeverReadyPodRunsAndWaitsForNothing(t *testing.T) {
	if s := at(paperPod(corev1.RestartPolicyAlways, map[string]string{neverReadyAnnotation: "true"}), time.Hour); node.IsReady(s.status) || !s.again.IsZero() {
		t.Errorf("%+v", s)
	}
}

func TestACrashingPodRestartsEverMoreSlowly(t *testing.T) {
	pod := paperPod(corev1.RestartPolicyAlways, map[string]string{crashAnnotation: "true"})
	now, waits := time.Duration(0), 0
	for range 200 {
		s := at(pod, now)
		one := s.status.ContainerStatuses[0]
		if one.State.Waiting != nil {
			waits++
			if one.State.Waiting.Reason != "CrashLoopBackOff" || one.LastTerminationState.Terminated == nil {
				t.Fatalf("%+v", one)
			}
		}
		next := s.again.Sub(began)
		if next <= now || next-now > 30*time.Second {
			t.Fatalf("after %s comes %s", now, next)
		}
		now = next
	}
	if last := at(pod, now).status.ContainerStatuses[0].RestartCount; waits != 100 || last != 100 {
		t.Errorf("%d waits, %d restarts", waits, last)
	}
}

func TestWhatAPodLeavesAtItsEndStandsWhereAKubeletWritesIt(t *testing.T) {
	says := map[string]string{crashAnnotation: "true", messageAnnotation: "no config"}
	s := at(paperPod(corev1.RestartPolicyAlways, says), time.Second)
	if last := s.status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.Message != "no config" {
		t.Errorf("%+v", s)
	}
	s = at(paperPod(corev1.RestartPolicyNever, map[string]string{messageAnnotation: "{}"}), time.Second)
	if s.status.ContainerStatuses[0].State.Terminated.Message != "{}" {
		t.Errorf("%+v", s)
	}
}

func TestAJobsPodEndsAsItsAnnotationSays(t *testing.T) {
	if s := at(paperPod(corev1.RestartPolicyNever, nil), time.Second); s.status.Phase != corev1.PodSucceeded {
		t.Errorf("%+v", s)
	}
	s := at(paperPod(corev1.RestartPolicyNever, map[string]string{exitCodeAnnotation: "7"}), time.Second)
	if s.status.Phase != corev1.PodFailed || s.status.ContainerStatuses[0].State.Terminated.ExitCode != 7 {
		t.Errorf("%+v", s)
	}
}

func TestADeletedPodStaysForItsTimeAndIsThenRemoved(t *testing.T) {
	f := facts{began: began, deleted: began}
	pod := paperPod(corev1.RestartPolicyAlways, nil)
	if s := plan(pod, f, began.Add(199*time.Millisecond)); s.remove || s.again.IsZero() {
		t.Errorf("%+v", s)
	}
	if s := plan(pod, f, began.Add(200*time.Millisecond)); !s.remove {
		t.Errorf("%+v", s)
	}
}

package process

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.dev/tests/cluster/node"
)

// statusNow is what there is to report, as a kubelet would say it. The pod's lock is held.
func (p *pod) statusNow() *corev1.PodStatus {
	began := p.began
	terminating := p.stop.asked()
	status := &corev1.PodStatus{
		HostIP: node.HostAddress, PodIP: p.address, StartTime: &began, ObservedGeneration: p.object.Generation,
	}
	var unready []string
	for _, c := range p.init {
		one := c.statusNow(terminating)
		if isSidecar(c.spec) {
			if !one.Ready {
				unready = append(unready, c.spec.Name)
			}
		} else {
			one.Ready = one.State.Terminated != nil && one.State.Terminated.ExitCode == 0
		}
		status.InitContainerStatuses = append(status.InitContainerStatuses, one)
	}
	for _, c := range p.containers {
		one := c.statusNow(terminating)
		if !one.Ready {
			unready = append(unready, c.spec.Name)
		}
		status.ContainerStatuses = append(status.ContainerStatuses, one)
	}
	status.Phase = phase(status, p.initialized, p.object.Spec.RestartPolicy)
	p.updateConditions(status.Phase, unready)
	status.Conditions = append([]corev1.PodCondition(nil), p.conditions...)
	return status
}

func (c *container) statusNow(terminating bool) corev1.ContainerStatus {
	one := c.status
	running := one.State.Running != nil
	started := running && c.started
	one.Started = &started
	one.Ready = started && c.ready && !terminating
	return one
}

// phase follows a kubelet's getPhase: a container that waits for its next start counts as one that has stopped.
func phase(status *corev1.PodStatus, initialized bool, policy corev1.RestartPolicy) corev1.PodPhase {
	if !initialized {
		for _, c := range status.InitContainerStatuses {
			if policy == corev1.RestartPolicyNever && c.State.Terminated != nil && c.State.Terminated.ExitCode != 0 {
				return corev1.PodFailed
			}
		}
		return corev1.PodPending
	}
	var waiting, running, stopped, failed int
	for _, c := range status.ContainerStatuses {
		ended := c.State.Terminated
		switch {
		case c.State.Running != nil:
			running++
			continue
		case ended == nil && c.LastTerminationState.Terminated == nil:
			waiting++
			continue
		case ended == nil:
			ended = c.LastTerminationState.Terminated
		}
		stopped++
		if ended.ExitCode != 0 {
			failed++
		}
	}
	switch {
	case waiting > 0:
		return corev1.PodPending
	case running > 0 || policy == corev1.RestartPolicyAlways:
		return corev1.PodRunning
	case failed == 0:
		return corev1.PodSucceeded
	case policy == corev1.RestartPolicyNever:
		return corev1.PodFailed
	default:
		return corev1.PodRunning
	}
}

// updateConditions keeps the conditions that belong to a kubelet.
func (p *pod) updateConditions(phase corev1.PodPhase, unready []string) {
	now := metav1.Now()
	containers := corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}
	switch {
	case phase == corev1.PodSucceeded:
		containers.Status, containers.Reason = corev1.ConditionFalse, "PodCompleted"
	case phase == corev1.PodFailed:
		containers.Status, containers.Reason = corev1.ConditionFalse, "PodFailed"
	case len(unready) > 0:
		containers.Status, containers.Reason = corev1.ConditionFalse, "ContainersNotReady"
		containers.Message = "containers with unready status: [" + strings.Join(unready, " ") + "]"
	}
	ready := containers
	ready.Type = corev1.PodReady
	if gate := p.closedGate(); gate != "" && ready.Status == corev1.ConditionTrue {
		ready.Status, ready.Reason = corev1.ConditionFalse, "ReadinessGatesNotReady"
		ready.Message = "the status of pod readiness gate \"" + gate + "\" is not \"True\""
	}
	initialized := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	if !p.initialized && len(p.init) > 0 {
		initialized.Status, initialized.Reason = corev1.ConditionFalse, "ContainersNotInitialized"
	}
	node.SetCondition(&p.conditions, corev1.PodCondition{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue}, now)
	node.SetCondition(&p.conditions, initialized, now)
	node.SetCondition(&p.conditions, ready, now)
	node.SetCondition(&p.conditions, containers, now)
}

// closedGate is the first readiness gate that nobody has opened.
func (p *pod) closedGate() string {
	for _, gate := range p.object.Spec.ReadinessGates {
		open := false
		for _, c := range p.object.Status.Conditions {
			open = open || c.Type == gate.ConditionType && c.Status == corev1.ConditionTrue
		}
		if !open {
			return string(gate.ConditionType)
		}
	}
	return ""
}

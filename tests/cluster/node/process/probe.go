package process

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/probe"
	grpcprobe "k8s.io/kubernetes/pkg/probe/grpc"
	httpprobe "k8s.io/kubernetes/pkg/probe/http"
	tcpprobe "k8s.io/kubernetes/pkg/probe/tcp"
)

// The probes themselves are a kubelet's own; when they run and what follows from them is here.
var (
	httpProber = httpprobe.New(false)
	tcpProber  = tcpprobe.New()
	grpcProber = grpcprobe.New()
)

// tally counts probe results against the thresholds.
type tally struct {
	successThreshold, failureThreshold int
	successes, failures                int
}

// add says what the result settles: true and settled for enough successes in a row, false and settled for enough
// failures, otherwise nothing.
func (t *tally) add(ok bool) (settled bool) {
	if ok {
		t.successes, t.failures = t.successes+1, 0
		return t.successes >= t.successThreshold
	}
	t.failures, t.successes = t.failures+1, 0
	return t.failures >= t.failureThreshold
}

// firstPause is how soon a probe that has not yet succeeded is tried again. It doubles up to the probe's period, so
// that a container is Ready soon after it answers, whatever its period is. These early tries do not count as failures.
const firstPause = 20 * time.Millisecond

// noticePause is how long a kubelet takes to notice that a container runs. Without it, a liveness probe would kill
// programs that it finds starting everywhere else.
const noticePause = 500 * time.Millisecond

// watchProbe runs one probe of a running container until the context ends, and tells each time the thresholds are met.
func watchProbe(ctx context.Context, spec *corev1.Probe, eager bool, try func(context.Context) (bool, string), tell func(ok bool, message string)) {
	period := seconds(spec.PeriodSeconds, 10)
	count := tally{
		successThreshold: max(1, int(spec.SuccessThreshold)),
		failureThreshold: orDefault(spec.FailureThreshold, 3),
	}
	early, notice := period, noticePause
	if eager {
		early, notice = firstPause, 0
	}
	if !sleep(ctx, max(time.Duration(spec.InitialDelaySeconds)*time.Second, notice)) {
		return
	}
	for {
		attempt, cancel := context.WithTimeout(ctx, seconds(spec.TimeoutSeconds, 1))
		ok, message := try(attempt)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if ok {
			early = period
		}
		if (ok || early >= period) && count.add(ok) {
			tell(ok, message)
		}
		if !sleep(ctx, early) {
			return
		}
		early = min(2*early, period)
	}
}

// check makes one attempt of a probe.
func (c *container) check(ctx context.Context, spec *corev1.Probe, plan *launchPlan) (ok bool, message string) {
	deadline, _ := ctx.Deadline()
	timeout := max(time.Until(deadline), time.Millisecond)
	var result probe.Result
	var err error
	switch handler := spec.ProbeHandler; {
	case handler.HTTPGet != nil:
		request, failure := httpprobe.NewRequestForHTTPGetAction(handler.HTTPGet, c.spec, c.pod.address, "probe")
		if failure != nil {
			return false, failure.Error()
		}
		result, message, err = httpProber.Probe(request.WithContext(ctx), timeout)
	case handler.TCPSocket != nil:
		host := handler.TCPSocket.Host
		if host == "" {
			host = c.pod.address
		}
		port, failure := probe.ResolveContainerPort(handler.TCPSocket.Port, c.spec)
		if failure != nil {
			return false, failure.Error()
		}
		result, message, err = tcpProber.Probe(host, port, timeout)
	case handler.GRPC != nil:
		service := ""
		if handler.GRPC.Service != nil {
			service = *handler.GRPC.Service
		}
		result, message, err = grpcProber.Probe(c.pod.address, service, int(handler.GRPC.Port), timeout, grpcprobe.ProbeOptions{})
	case handler.Exec != nil:
		output, failure := plan.execute(ctx, handler.Exec.Command)
		if failure != nil {
			return false, fmt.Sprintf("%v: %s", failure, output)
		}
		return true, ""
	default:
		return true, "" // Nothing to ask: as without a probe.
	}
	if err != nil {
		return false, err.Error()
	}
	return result == probe.Success || result == probe.Warning, strings.TrimSpace(message)
}

func seconds(value int32, otherwise int) time.Duration {
	return time.Duration(orDefault(value, otherwise)) * time.Second
}

func orDefault(value int32, otherwise int) int {
	if value > 0 {
		return int(value)
	}
	return otherwise
}

// sleep waits; false when the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// startProbes runs the container's probes until the context ends: first the startup probe, then the others.
func (c *container) startProbes(ctx context.Context, plan *launchPlan, failed chan<- string) {
	others := func() {
		if probe := c.spec.ReadinessProbe; probe != nil {
			go watchProbe(ctx, probe, true, c.asking(probe, plan), func(ok bool, message string) {
				c.unhealthy("Readiness", ok, message)
				c.pod.change(func() { c.ready = ok && ctx.Err() == nil })
			})
		}
		if probe := c.spec.LivenessProbe; probe != nil {
			go watchProbe(ctx, probe, false, c.asking(probe, plan), func(ok bool, message string) {
				c.unhealthy("Liveness", ok, message)
				if !ok {
					offer(failed, "failed liveness probe")
				}
			})
		}
	}
	probe := c.spec.StartupProbe
	if probe == nil {
		others()
		return
	}
	startup, end := context.WithCancel(ctx)
	go func() {
		defer end()
		watchProbe(startup, probe, true, c.asking(probe, plan), func(ok bool, message string) {
			c.unhealthy("Startup", ok, message)
			if !ok {
				offer(failed, "failed startup probe")
				return
			}
			end()
			c.pod.change(func() {
				if ctx.Err() == nil {
					c.started = true
					c.ready = c.spec.ReadinessProbe == nil
					c.noteLaunched()
				}
			})
			others()
		})
	}()
}

func (c *container) asking(probe *corev1.Probe, plan *launchPlan) func(context.Context) (bool, string) {
	return func(ctx context.Context) (bool, string) { return c.check(ctx, probe, plan) }
}

func (c *container) unhealthy(kind string, ok bool, message string) {
	if !ok {
		c.pod.event(corev1.EventTypeWarning, "Unhealthy", "%s probe failed: %s", kind, message)
	}
}

func offer(to chan<- string, text string) {
	select {
	case to <- text:
	default:
	}
}

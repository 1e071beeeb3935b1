package smoke

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const workloads = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {COLOR: blue, file.txt: from-a-volume}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {tidegate.dev/node: process}
      terminationGracePeriodSeconds: 5
      containers:
      - name: web
        image: web:1
        envFrom: [{configMapRef: {name: settings}}]
        env: [{name: MARKER, value: $(COLOR)-/data}]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /healthz, port: http}}
        volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, emptyDir: {}}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec:
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {tidegate.dev/node: process}
      initContainers:
      - {name: first, image: local/sh, command: [sh, -c, "echo from-init > /shared/init"], volumeMounts: [{name: shared, mountPath: /shared}]}
      containers:
      - name: job
        image: local/sh
        command: [sh, -c, "cat /etc/settings/file.txt /shared/init; echo; echo $(COLOR) $POD_IP $NAME"]
        env:
        - {name: COLOR, valueFrom: {configMapKeyRef: {name: settings, key: COLOR}}}
        - {name: NAME, valueFrom: {fieldRef: {fieldPath: "metadata.labels['job-name']"}}}
        volumeMounts: [{name: settings, mountPath: /etc/settings}, {name: shared, mountPath: /shared}]
      volumes: [{name: settings, configMap: {name: settings}}, {name: shared, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec:
  nodeSelector: {tidegate.dev/node: process}
  containers: [{name: c, image: local/sh, command: [sh, -c, "echo boom; exit 3"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: no-image}
spec:
  nodeSelector: {tidegate.dev/node: process}
  containers: [{name: c, image: "nginx:1.29", command: [sh]}]
---
apiVersion: v1
kind: Pod
metadata: {name: no-secret}
spec:
  nodeSelector: {tidegate.dev/node: process}
  containers: [{name: c, image: local/sh, command: [sh], envFrom: [{secretRef: {name: gone}}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: unhealthy}
spec:
  nodeSelector: {tidegate.dev/node: process}
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: local/sh
    command: [sh, -c, "touch /tmp-of-pod/alive; sleep 2; rm /tmp-of-pod/alive; sleep 1000"]
    livenessProbe: {exec: {command: [test, -f, /tmp-of-pod/alive]}, periodSeconds: 1, failureThreshold: 1}
    volumeMounts: [{name: tmp, mountPath: /tmp-of-pod}]
  volumes: [{name: tmp, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: stubborn}
spec:
  nodeSelector: {tidegate.dev/node: process}
  terminationGracePeriodSeconds: 2
  containers: [{name: c, image: local/sh, command: [sh, -c, "trap '' TERM; setsid sleep 1000 & while true; do sleep 0.2; echo tick; done"]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: paper}
spec:
  replicas: 3
  selector: {matchLabels: {app: paper}}
  template:
    metadata: {labels: {app: paper}, annotations: {paper.tidegate.dev/ready-after: 300ms}}
    spec:
      nodeSelector: {tidegate.dev/node: paper}
      containers: [{name: c, image: "any:1"}]
`

func TestPodsOfEveryKindBehaveAsTheyWouldOnAKubelet(t *testing.T) {
	c := up(t, "--process-nodes", "2", "--paper-nodes", "1", "--image", "web="+binary(t)+" httpd", "--user", "carol=auditors")
	c.apply(workloads)

	t.Log(c.kubectl("rollout", "status", "deployment/web", "--timeout=15s"))
	t.Log(c.kubectl("rollout", "status", "deployment/paper", "--timeout=15s"))
	c.eventually(10*time.Second, "1", "get", "job", "job", "-o", "jsonpath={.status.succeeded}")

	log := c.kubectl("logs", "job/job")
	for _, wanted := range []string{"from-a-volume", "from-init", "blue 127.", " job"} {
		if !strings.Contains(log, wanted) {
			t.Errorf("the job's log has no %q:\n%s", wanted, log)
		}
	}
	if log := c.kubectl("logs", "deployment/web", "--tail=1", "--timestamps"); !strings.Contains(log, "listening on 127.") {
		t.Errorf("log of web: %s", log)
	}

	waiting := func(pod string) []string {
		return []string{"get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].state.waiting.reason}"}
	}
	c.eventually(10*time.Second, "ImagePullBackOff", waiting("no-image")...)
	c.eventually(10*time.Second, "CreateContainerConfigError", waiting("no-secret")...)
	c.eventually(10*time.Second, "CrashLoopBackOff", waiting("crash")...)
	c.eventually(10*time.Second, "3", "get", "pod", "crash", "-o", "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}")
	if log := c.kubectl("logs", "crash", "--previous"); log != "boom" {
		t.Errorf("previous log of crash: %q", log)
	}
	c.eventually(10*time.Second, "1", "get", "pod", "unhealthy", "-o", "jsonpath={.status.containerStatuses[0].restartCount}")

	c.kubectl("scale", "deployment/web", "--replicas=5")
	c.eventually(10*time.Second, "5", "get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}")
	c.kubectl("scale", "deployment/web", "--replicas=1")
	c.eventually(10*time.Second, "1", "get", "deployment", "web", "-o", "jsonpath={.status.replicas}")

	follow := exec.Command(c.binary, "kubectl", "--kubeconfig", c.Kubeconfig, "logs", "-f", "stubborn", "--since=1s")
	var followed strings.Builder
	follow.Stdout = &followed
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c.kubectl("delete", "pod", "stubborn")
	if took := time.Since(began); took < 1500*time.Millisecond || took > 5*time.Second {
		t.Errorf("a pod that ignores SIGTERM ended after %s, its grace period is 2 s", took)
	}
	if err := follow.Wait(); err != nil || strings.Count(followed.String(), "tick") < 5 {
		t.Errorf("following a log until its pod is gone: %v, %q", err, followed.String())
	}

	if output, err := c.try("carol", "get", "pods"); err == nil || !strings.Contains(output, "forbidden") {
		t.Errorf("carol has no rights, and got %q", output)
	}
	if name := c.kubectl("--kubeconfig", c.Kubeconfigs["carol"], "auth", "whoami", "-o", "jsonpath={.status.userInfo.groups}"); !strings.Contains(name, "auditors") {
		t.Errorf("carol's groups: %s", name)
	}

	_ = c.input.Close()
	if err := c.command.Wait(); err != nil {
		t.Errorf("the end of its input should end the cluster well: %v", err)
	}
	c.gone(time.Second)
}

func TestDisturbancesAreSeenAndPass(t *testing.T) {
	c := up(t, "--process-nodes", "2", "--image", "web="+binary(t)+" httpd")
	c.apply(strings.Join(strings.Split(workloads, "---")[:2], "---"))
	c.kubectl("rollout", "status", "deployment/web", "--timeout=15s")

	for _, component := range []string{"etcd", "kube-apiserver", "controller-manager", "scheduler"} {
		began := time.Now()
		c.ask("/components/" + component + "/restart")
		t.Logf("%s restarted in %s", component, time.Since(began).Round(time.Millisecond))
	}
	c.ask("/components/controller-manager/pause")
	c.kubectl("scale", "deployment/web", "--replicas=4")
	time.Sleep(time.Second)
	c.eventually(time.Second, "3", "get", "deployment", "web", "-o", "jsonpath={.status.replicas}")
	c.ask("/components/controller-manager/resume")
	c.eventually(10*time.Second, "4", "get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}")

	server := c.ask("/proxy?name=client")["server"].(string)
	get := []string{"--server", server, "--request-timeout=2s", "get", "--raw", "/version"}
	c.kubectl(get...)
	c.ask("/proxies/client/delay?ms=200")
	began := time.Now()
	c.kubectl(get...)
	if took := time.Since(began); took < 800*time.Millisecond {
		t.Errorf("200 ms in each direction for two handshakes and a request took only %s", took)
	}
	c.ask("/proxies/client/hang")
	if _, err := c.try("admin", get...); err == nil {
		t.Error("a hanging proxy let a request through")
	}
	c.ask("/proxies/client/cut")
	if _, err := c.try("admin", get...); err == nil {
		t.Error("a cut proxy let a request through")
	}
	c.ask("/proxies/client/resume")
	c.ask("/proxies/client/delay?ms=0")
	c.kubectl(get...)

	ready := []string{"get", "node", "process-1", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`}
	c.ask("/nodes/process-1/lose")
	c.eventually(15*time.Second, "Unknown", ready...)
	c.eventually(5*time.Second, "False", "get", "pods", "--field-selector", "spec.nodeName=process-1", "-o",
		`jsonpath={.items[0].status.conditions[?(@.type=="Ready")].status}`)
	c.eventually(20*time.Second, "4", "get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}")
	c.ask("/nodes/process-1/return")
	c.eventually(5*time.Second, "True", ready...)
	c.eventually(5*time.Second, "", "get", "pods", "--field-selector", "spec.nodeName=process-1", "-o", "name")

	if err := c.command.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = c.command.Wait()
	c.gone(3 * time.Second)
}

func TestAnOlderKubernetesCanBeEmulated(t *testing.T) {
	c := up(t, "--emulate", "1.34", "--process-nodes", "0", "--paper-nodes", "1")
	c.apply(strings.Split(workloads, "---")[len(strings.Split(workloads, "---"))-1])
	c.kubectl("rollout", "status", "deployment/paper", "--timeout=15s")
	if version := c.kubectl("version", "-o", "yaml"); !strings.Contains(version, "emulationMinor: \"34\"") {
		t.Errorf("version:\n%s", version)
	}
	if err := c.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.command.Wait(); err != nil {
		t.Errorf("SIGTERM should end the cluster well: %v", err)
	}
	c.gone(time.Second)
}

// Command tidegate-cluster is a real Kubernetes control plane in one program, for tests, the demo and benchmarks on a
// machine without a container engine. This file only chooses, by the first argument or the name it is called by, which
// part of it to be; `up` starts the others as child processes.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // the log format "json"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // metrics of the components' clients
	_ "k8s.io/component-base/metrics/prometheus/version"  // the metric kubernetes_build_info
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	"tidegate.dev/tests/cluster/httpd"
	"tidegate.dev/tests/cluster/plane"
	"tidegate.dev/tests/cluster/up"
)

const usage = `usage: tidegate-cluster up [flags]    bring up a cluster; up --help lists the flags
       tidegate-cluster kubectl ...   kubectl
       tidegate-cluster httpd         a tiny HTTP server for pods of tests
       tidegate-cluster etcd | kube-apiserver | kube-controller-manager | kube-scheduler ...
                                      one component, as up starts it
`

func main() {
	// The programs in here read os.Args themselves: each is given its own name and its own arguments.
	if name := filepath.Base(os.Args[0]); strings.HasSuffix(name, "kubectl") {
		os.Args[0] = "kubectl"
	} else if len(os.Args) > 1 {
		os.Args = os.Args[1:]
	} else {
		os.Args[0] = ""
	}
	os.Exit(run(os.Args[0]))
}

func run(name string) int {
	switch name {
	case "up":
		return up.Main(os.Args[1:])
	case "guard":
		return up.Guard(os.Args[1:])
	case "httpd":
		return httpd.Main()
	case "kubectl":
		return cli.Run(kubectl.NewDefaultKubectlCommand())
	case plane.Etcd:
		etcdmain.Main(os.Args)
		return 0
	case plane.APIServer:
		return cli.Run(apiserver.NewAPIServerCommand())
	case plane.ControllerManager:
		return cli.Run(controllermanager.NewControllerManagerCommand())
	case plane.Scheduler:
		return cli.Run(scheduler.NewSchedulerCommand())
	case "", "help", "-h", "--help":
		fmt.Fprint(os.Stderr, usage)
		return 0
	default:
		fmt.Fprintf(os.Stderr, "tidegate-cluster has no part called %q\n%s", name, usage)
		return 2
	}
}

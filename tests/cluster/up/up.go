// Package up brings a whole cluster up, says where it is, offers the control endpoint, and takes everything down again.
package up

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"tidegate.dev/tests/cluster/node"
	"tidegate.dev/tests/cluster/node/paper"
	"tidegate.dev/tests/cluster/node/process"
	"tidegate.dev/tests/cluster/plane"
	"tidegate.dev/tests/cluster/spawn"
)

// announcement is the one line on standard output that says that the cluster is ready, and where everything is.
type announcement struct {
	Kubeconfig  string            `json:"kubeconfig"` // of admin
	Kubeconfigs map[string]string `json:"kubeconfigs"`
	Server      string            `json:"server"`
	CA          string            `json:"ca"`
	Control     string            `json:"control"`
	Dir         string            `json:"dir"`
	PIDs        map[string]int    `json:"pids"`
}

// Main is `tidegate-cluster up`. It returns the exit code.
func Main(args []string) int {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	log.SetPrefix("tidegate-cluster: ")
	options, err := parseOptions(args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if watchInput() {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel(errors.New("standard input has ended"))
		}()
	}
	if err := run(ctx, options); err != nil && !errors.Is(err, context.Canceled) {
		log.Print(err)
		return 1
	}
	return 0
}

// watchInput says whether the end of standard input means that the parent is gone. /dev/null, which a shell gives to
// what runs in its background, is at its end from the start and means nothing.
func watchInput() bool {
	input, err := os.Stdin.Stat()
	if err != nil {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(input, null)
}

func run(ctx context.Context, o *options) error {
	began := time.Now()
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := makeDirectory(o.dir)
	if err != nil {
		return err
	}
	mark := spawn.ClusterMark(fmt.Sprintf("%d-%d", os.Getpid(), began.UnixNano()))
	removeDir := dir
	if o.keep {
		removeDir = ""
	}
	if err := startGuard(binary, mark, removeDir); err != nil {
		return err
	}
	if !o.keep {
		defer func() {
			if err := os.RemoveAll(dir); err != nil {
				log.Printf("removing %s: %v", dir, err)
			}
		}()
	}
	audit := o.audit
	if audit != "" {
		if audit, err = filepath.Abs(audit); err != nil {
			return err
		}
	}
	log.Printf("starting in %s", dir)
	if err := logClients(filepath.Join(dir, "logs")); err != nil {
		return err
	}
	control, err := startPlane(ctx, o, plane.Options{
		Binary: binary, Dir: dir, Users: o.users, Emulate: o.emulate, AuditFile: audit, SilentNodes: o.silentNodes,
	})
	if err != nil {
		return err
	}
	defer control.Stop()
	log.Printf("control plane healthy after %s", time.Since(began).Round(time.Millisecond))

	nodes, err := startNodes(ctx, o, control, dir, mark)
	if err != nil {
		return err
	}
	defer spawn.KillMarked(mark)
	defer nodes.stop()
	if o.join != "" {
		defer nodes.leave()
	}
	if err := nodes.waitReady(ctx); err != nil {
		return err
	}
	endpoint, err := startControl(ctx, control, nodes.fleet)
	if err != nil {
		return err
	}
	if err := announce(control, dir, endpoint); err != nil {
		return err
	}
	log.Printf("ready after %s", time.Since(began).Round(time.Millisecond))
	<-ctx.Done()
	log.Printf("stopping: %v", context.Cause(ctx))
	return nil
}

// startPlane starts a control plane, or joins one.
func startPlane(ctx context.Context, o *options, wanted plane.Options) (*plane.Plane, error) {
	if o.join != "" {
		return plane.Join(o.join, wanted)
	}
	return plane.Start(ctx, wanted)
}

// logClients gives what the client library has to say of the nodes' calls a file of its own, as the components have.
func logClients(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(dir, "nodes.log"))
	if err != nil {
		return err
	}
	klog.LogToStderr(false)
	klog.SetOutput(file)
	return nil
}

// makeDirectory makes the cluster's directory, in memory when nobody says where.
func makeDirectory(wanted string) (string, error) {
	if wanted == "" {
		if dir, err := os.MkdirTemp("/dev/shm", "tidegate-cluster-"); err == nil {
			return dir, nil
		}
		return os.MkdirTemp("", "tidegate-cluster-")
	}
	dir, err := filepath.Abs(wanted)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty: empty it or name another --dir", dir)
	}
	return dir, err
}

func announce(control *plane.Plane, dir, endpoint string) error {
	pids := map[string]int{}
	for _, name := range control.ComponentNames() {
		if c, ok := control.Component(name); ok {
			pids[name] = c.State().PID
		}
	}
	line, err := json.Marshal(announcement{
		Kubeconfig: control.Kubeconfigs["admin"], Kubeconfigs: control.Kubeconfigs,
		Server: control.Server, CA: control.Trust.AuthorityFile, Control: endpoint, Dir: dir, PIDs: pids,
	})
	if err != nil {
		return err
	}
	_, err = fmt.Println(string(line))
	return err
}

// nodes is everything that plays the nodes.
type nodes struct {
	client   kubernetes.Interface
	fleet    *node.Fleet
	machines []*process.Machine
	names    []string
	stop     func()
}

// paperWriters is how many reports of paper nodes are on their way at once.
const paperWriters = 32

func startNodes(parent context.Context, o *options, control *plane.Plane, dir, mark string) (*nodes, error) {
	config, err := clientcmd.BuildConfigFromFlags("", control.NodeKubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // No limit: the measured thing must not wait for the nodes.
	config.UserAgent = node.ManagerName
	config.ContentConfig = rest.ContentConfig{
		ContentType:        "application/vnd.kubernetes.protobuf",
		AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json",
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	fleet, err := node.NewFleet(client)
	if err != nil {
		return nil, err
	}
	network, err := control.Claims.Network()
	if err != nil {
		return nil, err
	}
	kubeletPort, err := control.Claims.Port()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(parent)
	n := &nodes{client: client, fleet: fleet}
	add := func(name, kind string, machine node.Machine) {
		n.names = append(n.names, name)
		fleet.Add(name, kind, o.podsPerNode, kubeletPort, machine)
	}
	n.stop = func() {
		cancel()
		for _, m := range n.machines {
			m.Wait()
		}
	}
	events := record.NewBroadcaster(record.WithContext(ctx))
	events.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	reporter := &node.Reporter{Client: client}
	settings := &process.Settings{
		Dir: filepath.Join(dir, "pods"), Mark: mark, Images: o.images,
		Addresses: process.NewAddresses(network), Reporter: reporter,
		Events:       events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: node.ManagerName}),
		FirstBackoff: o.firstBackoff, LongestBackoff: o.longestBackoff,
	}
	for i := range o.processNodes {
		machine := process.NewMachine(ctx, settings)
		n.machines = append(n.machines, machine)
		add(fmt.Sprintf("process-%d", i+1), "process", machine)
	}
	desk := paper.NewDesk(ctx, reporter, paperWriters)
	for i := range o.paperNodes {
		add(fmt.Sprintf("paper-%d", i+1), "paper", paper.NewMachine(desk))
	}
	kubelet := &process.Kubelet{}
	if err := kubelet.Serve(ctx, kubeletPort, control.Trust.Serving, n.machines); err != nil {
		n.stop()
		return nil, err
	}
	if err := fleet.Run(ctx); err != nil {
		n.stop()
		return nil, err
	}
	return n, nil
}

// leave takes the nodes out of a cluster that goes on without them.
func (n *nodes) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, name := range n.names {
		if err := n.client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			log.Printf("node %s stays in the cluster: %v", name, err)
		}
	}
}

// waitReady waits until pods can be created and scheduled.
func (n *nodes) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, plane.HealthTimeout)
	defer cancel()
	missing := "nothing was asked"
	for {
		if missing = n.missing(ctx); missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cluster did not become ready: %s: %w", missing, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// missing says what keeps the cluster from being ready; nothing when it is.
func (n *nodes) missing(ctx context.Context) string {
	list, err := n.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	ready := 0
	for _, one := range list.Items {
		isReady := slices.ContainsFunc(one.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
		if isReady && len(one.Spec.Taints) == 0 && slices.Contains(n.names, one.Name) {
			ready++
		}
	}
	if ready < len(n.names) {
		return fmt.Sprintf("%d of %d nodes are ready", ready, len(n.names))
	}
	if _, err := n.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{}); err != nil {
		return err.Error()
	}
	return ""
}

// Package plane runs a Kubernetes control plane on 127.0.0.1: etcd, kube-apiserver, kube-controller-manager and
// kube-scheduler as child processes, with their keys, users, ports and the relays between them. It runs no nodes and
// no pods.
package plane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

const (
	serviceNetwork = "10.96.0.0/16"
	serviceAddress = "10.96.0.1"
)

// The names of the components, as processes and in the control endpoint. "nodes" is no process: it is the part of this
// program that plays the nodes, which reaches the API server through a relay like the others.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Nodes             = "nodes"
)

// Options say what kind of control plane is wanted.
type Options struct {
	Binary    string // this program, which runs the components by name
	Dir       string
	Users     []User
	Emulate   string // Kubernetes version that the components emulate, as 1.34; empty: their own
	AuditFile string // where the API server writes its audit log; empty: nowhere

	SilentNodes time.Duration // how long a node may say nothing before it is taken for lost
}

// Plane is a running control plane.
type Plane struct {
	Server         string // URL of the API server
	Trust          *Trust
	Kubeconfigs    map[string]string // by user name
	NodeKubeconfig string            // for the nodes, through their relay
	Claims         *Claims

	options    Options
	etcd       string // URL of etcd, past its relay
	apiAddress string
	components map[string]*Component
	relays     map[string]*Relay // between a component and what it calls, by the component's name
}

// Start starts the control plane and waits until all of it is healthy.
func Start(ctx context.Context, options Options) (*Plane, error) {
	p := &Plane{
		Kubeconfigs: map[string]string{},
		Claims:      &Claims{},
		options:     options,
		components:  map[string]*Component{},
		relays:      map[string]*Relay{},
	}
	if err := p.start(ctx); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// Stop kills all components.
func (p *Plane) Stop() {
	for _, name := range []string{Scheduler, ControllerManager, APIServer, Etcd} {
		if c := p.components[name]; c != nil {
			c.Kill()
		}
	}
	for _, relay := range p.relays {
		relay.Close()
	}
}

// Component finds a component by its name, with or without "kube-".
func (p *Plane) Component(name string) (*Component, bool) {
	if c, ok := p.components[name]; ok {
		return c, true
	}
	c, ok := p.components["kube-"+name]
	return c, ok
}

// Relay finds the relay through which a component makes its calls: for etcd, the calls it receives.
func (p *Plane) Relay(name string) (*Relay, bool) {
	if r, ok := p.relays[name]; ok {
		return r, true
	}
	r, ok := p.relays["kube-"+name]
	return r, ok
}

// ComponentNames are the names of the components that are processes, in order.
func (p *Plane) ComponentNames() []string {
	names := make([]string, 0, len(p.components))
	for name := range p.components {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ClientRelay makes a relay to the API server for a client.
func (p *Plane) ClientRelay() (*Relay, error) {
	port, err := p.Claims.Port()
	if err != nil {
		return nil, err
	}
	return NewRelay(port, p.apiAddress)
}

// ClientFront makes a front of the API server for a client; its authorities are written below the directory of its name.
func (p *Plane) ClientFront(name string) (*Front, error) {
	port, err := p.Claims.Port()
	if err != nil {
		return nil, err
	}
	return NewFront(port, p.apiAddress, p.Trust, p.path("fronts", name)), nil
}

func (p *Plane) start(ctx context.Context) error {
	var err error
	if p.Trust, err = NewTrust(p.path("trust")); err != nil {
		return err
	}
	if err := os.MkdirAll(p.path("logs"), 0o700); err != nil {
		return err
	}
	etcd, err := p.startEtcd(ctx)
	if err != nil {
		return err
	}
	if err := p.startAPIServer(ctx, etcd); err != nil {
		return err
	}
	controllerManager, err := p.prepareControllerManager()
	if err != nil {
		return err
	}
	scheduler, err := p.prepareScheduler()
	if err != nil {
		return err
	}
	// The two do not wait for each other.
	failures := make(chan error, 2)
	go func() { failures <- controllerManager.Start(ctx) }()
	go func() { failures <- scheduler.Start(ctx) }()
	return errors.Join(<-failures, <-failures)
}

func (p *Plane) path(elements ...string) string {
	return filepath.Join(append([]string{p.options.Dir}, elements...)...)
}

func (p *Plane) component(name string, args []string, healthURL string) *Component {
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: p.Trust.Pool},
		DisableKeepAlives: true,
	}}
	c := &Component{
		Name:    name,
		binary:  p.options.Binary,
		args:    args,
		logFile: p.path("logs", name+".log"),
		healthy: func(ctx context.Context) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, healthURL, nil)
			if err != nil {
				return err
			}
			response, err := client.Do(request)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				body, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
				return fmt.Errorf("%s answers %s: %s", healthURL, response.Status, body)
			}
			return nil
		},
	}
	p.components[name] = c
	return c
}

// relay puts a relay in front of the target for the named component and returns the relay's address.
func (p *Plane) relay(name, target string) (string, error) {
	port, err := p.Claims.Port()
	if err != nil {
		return "", err
	}
	relay, err := NewRelay(port, target)
	if err != nil {
		return "", err
	}
	p.relays[name] = relay
	return relay.Address, nil
}

// startEtcd returns the address at which the API server reaches it.
func (p *Plane) startEtcd(ctx context.Context) (string, error) {
	ports, err := p.ports(2)
	if err != nil {
		return "", err
	}
	address := local(ports[0])
	client, peer := "http://"+address, "http://"+local(ports[1])
	p.etcd = client
	// Nothing here has to survive the machine: fsync would only make tests wait for the disk.
	c := p.component(Etcd, []string{
		"--data-dir", p.path("etcd"),
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", "default=" + peer,
		"--unsafe-no-fsync", "--log-level", "warn",
	}, client+"/health")
	if err := c.Start(ctx); err != nil {
		return "", err
	}
	return p.relay(Etcd, address)
}

func (p *Plane) startAPIServer(ctx context.Context, etcd string) error {
	ports, err := p.ports(1)
	if err != nil {
		return err
	}
	p.apiAddress = local(ports[0])
	p.Server = "https://" + p.apiAddress

	users := append(slices.Clone(p.options.Users), componentUsers()...)
	tokens := p.path("trust", "tokens.csv")
	if err := writeTokens(tokens, users); err != nil {
		return err
	}
	if err := p.writeKubeconfigs(users); err != nil {
		return err
	}

	args := []string{
		"--etcd-servers", "http://" + etcd,
		"--bind-address", "127.0.0.1", "--secure-port", strconv.Itoa(ports[0]),
		// An address that nothing has: Endpoints refuse loopback addresses, and nobody calls the Service "kubernetes".
		"--advertise-address", "192.0.2.1", "--endpoint-reconciler-type", "none",
		"--tls-cert-file", p.Trust.CertificateFile, "--tls-private-key-file", p.Trust.KeyFile,
		"--token-auth-file", tokens, "--authorization-mode", "RBAC",
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", p.Trust.AccountPublicFile,
		"--service-account-signing-key-file", p.Trust.AccountKeyFile,
		"--service-cluster-ip-range", serviceNetwork,
		"--kubelet-preferred-address-types", "InternalIP", "--kubelet-certificate-authority", p.Trust.AuthorityFile,
		// Pods are processes without a file system of their own: no token could be mounted where they look for it.
		"--disable-admission-plugins", "ServiceAccount",
		"--default-not-ready-toleration-seconds", "5", "--default-unreachable-toleration-seconds", "5",
		"--allow-privileged",
		"--max-requests-inflight", "2000", "--max-mutating-requests-inflight", "1000",
		"--profiling=false",
	}
	args = append(args, p.emulation()...)
	if p.options.AuditFile != "" {
		policy := p.path("audit-policy.yaml")
		if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
			return err
		}
		args = append(args, "--audit-policy-file", policy, "--audit-log-path", p.options.AuditFile)
	}
	return p.component(APIServer, args, p.Server+"/readyz").Start(ctx)
}

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

func (p *Plane) prepareControllerManager() (*Component, error) {
	ports, err := p.ports(1)
	if err != nil {
		return nil, err
	}
	args := []string{
		"--kubeconfig", p.componentKubeconfig(ControllerManager),
		"--bind-address", "127.0.0.1", "--secure-port", strconv.Itoa(ports[0]),
		"--tls-cert-file", p.Trust.CertificateFile, "--tls-private-key-file", p.Trust.KeyFile,
		"--root-ca-file", p.Trust.AuthorityFile,
		"--service-account-private-key-file", p.Trust.AccountKeyFile,
		"--use-service-account-credentials=true", "--leader-elect=false",
		"--kube-api-qps", "2000", "--kube-api-burst", "4000",
		// A lost node is noticed soon, and several nodes at once.
		"--node-monitor-period", "500ms", "--node-monitor-grace-period", p.options.SilentNodes.String(),
		"--node-eviction-rate", "100", "--secondary-node-eviction-rate", "100", "--large-cluster-size-threshold", "0",
		// New bounds of an autoscaler take effect within a second. Nobody serves metrics: bounds are all that it has.
		"--horizontal-pod-autoscaler-sync-period", "1s",
		// What policies' expressions are of by their types is told in status, which nobody here reads, and costs more than the policies.
		"--controllers", "*,-validatingadmissionpolicy-status-controller",
		"--profiling=false",
	}
	return p.component(ControllerManager, append(args, p.emulation()...), "https://"+local(ports[0])+"/healthz"), nil
}

func (p *Plane) prepareScheduler() (*Component, error) {
	ports, err := p.ports(1)
	if err != nil {
		return nil, err
	}
	configuration := p.path("scheduler.yaml")
	// The default constraints on how a workload's pods spread count all of its pods for each one that is scheduled: with
	// ten thousand, that is most of what the machine does. Without them pods still go to the emptiest node.
	content := fmt.Sprintf(`apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection: {leaderElect: false}
clientConnection: {kubeconfig: %q, qps: 2000, burst: 4000}
profiles:
- schedulerName: default-scheduler
  pluginConfig:
  - name: PodTopologySpread
    args: {apiVersion: kubescheduler.config.k8s.io/v1, kind: PodTopologySpreadArgs, defaultingType: List}
`, p.componentKubeconfig(Scheduler))
	if err := os.WriteFile(configuration, []byte(content), 0o600); err != nil {
		return nil, err
	}
	args := []string{
		"--config", configuration,
		"--bind-address", "127.0.0.1", "--secure-port", strconv.Itoa(ports[0]),
		"--tls-cert-file", p.Trust.CertificateFile, "--tls-private-key-file", p.Trust.KeyFile,
	}
	return p.component(Scheduler, append(args, p.emulation()...), "https://"+local(ports[0])+"/readyz"), nil
}

// emulation is the flags that make a component behave as an older Kubernetes.
func (p *Plane) emulation() []string {
	if p.options.Emulate == "" {
		return nil
	}
	return []string{"--emulated-version", p.options.Emulate, "--min-compatibility-version", p.options.Emulate}
}

func (p *Plane) componentKubeconfig(component string) string {
	return p.path("kubeconfigs", "component-"+component+".kubeconfig")
}

// writeKubeconfigs writes one kubeconfig for each user. The components' lead through relays of their own.
func (p *Plane) writeKubeconfigs(users []User) error {
	components := map[string]string{controllerManagerUser: ControllerManager, schedulerUser: Scheduler, nodesUser: Nodes}
	for _, user := range users {
		path, server := p.path("kubeconfigs", user.Name+".kubeconfig"), p.Server
		if component, ok := components[user.Name]; ok {
			address, err := p.relay(component, p.apiAddress)
			if err != nil {
				return err
			}
			path, server = p.componentKubeconfig(component), "https://"+address
		} else {
			p.Kubeconfigs[user.Name] = path
		}
		if err := writeKubeconfig(path, server, p.Trust.AuthorityPEM, user); err != nil {
			return err
		}
	}
	p.NodeKubeconfig = p.componentKubeconfig(Nodes)
	return nil
}

func (p *Plane) ports(count int) ([]int, error) {
	ports := make([]int, count)
	for i := range ports {
		port, err := p.Claims.Port()
		if err != nil {
			return nil, err
		}
		ports[i] = port
	}
	return ports, nil
}

func local(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// HealthTimeout bounds the start or restart of one component on a busy machine.
const HealthTimeout = 90 * time.Second

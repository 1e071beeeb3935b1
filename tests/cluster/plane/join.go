package plane

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Join takes a cluster that runs already for the control plane. It has no components and no relays, so nothing of it can
// be disturbed. The kubeconfig's user must be an administrator: nodes speak as that user, and the cluster's users are
// impersonated by it.
func Join(kubeconfig string, options Options) (*Plane, error) {
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		return nil, err
	}
	if err := clientcmdapi.MinifyConfig(config); err != nil {
		return nil, fmt.Errorf("%s: %w", kubeconfig, err)
	}
	if err := clientcmdapi.FlattenConfig(config); err != nil {
		return nil, fmt.Errorf("%s: %w", kubeconfig, err)
	}
	current := config.Contexts[config.CurrentContext]
	p := &Plane{
		Server:         config.Clusters[current.Cluster].Server,
		Kubeconfigs:    map[string]string{},
		NodeKubeconfig: filepath.Join(options.Dir, "kubeconfig", "nodes"),
		Claims:         &Claims{},
		options:        options,
	}
	if p.Trust, err = NewTrust(p.path("trust")); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(p.NodeKubeconfig), 0o700); err != nil {
		return nil, err
	}
	if err := clientcmd.WriteToFile(*config, p.NodeKubeconfig); err != nil {
		return nil, err
	}
	for _, user := range options.Users {
		as := config.DeepCopy()
		if user.Name != "admin" {
			who := as.AuthInfos[current.AuthInfo]
			who.Impersonate, who.ImpersonateGroups = user.Name, user.Groups
		}
		file := filepath.Join(options.Dir, "kubeconfig", user.Name)
		if err := clientcmd.WriteToFile(*as, file); err != nil {
			return nil, err
		}
		p.Kubeconfigs[user.Name] = file
	}
	return p, nil
}

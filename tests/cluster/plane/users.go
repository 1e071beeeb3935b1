package plane

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// User is somebody whom the API server knows by a token. Rights come from groups and from RBAC objects that a test
// creates: apart from members of system:masters and the components, nobody has any.
type User struct {
	Name   string
	Groups []string

	token string
}

// DefaultUsers are the people that every cluster knows.
func DefaultUsers() []User {
	return []User{
		{Name: "admin", Groups: []string{"system:masters"}},
		{Name: "alice", Groups: []string{"release-managers"}},
		{Name: "bob", Groups: []string{"developers"}},
		{Name: "argocd", Groups: []string{"gitops"}},
	}
}

// The identities of the components. The nodes' client is a member of system:masters because one client speaks for all
// nodes, and because that group is exempt from priority and fairness: reporting the state of thousands of pods must
// not be queued behind the thing that is measured.
const (
	controllerManagerUser = "system:kube-controller-manager"
	schedulerUser         = "system:kube-scheduler"
	nodesUser             = "tidegate-nodes"
)

func componentUsers() []User {
	return []User{
		{Name: controllerManagerUser},
		{Name: schedulerUser},
		{Name: nodesUser, Groups: []string{"system:masters"}},
	}
}

// ParseUser reads NAME=GROUP,GROUP.
func ParseUser(text string) (User, error) {
	name, groups, found := strings.Cut(text, "=")
	if !found || name == "" || strings.ContainsAny(text, "\"\n/") {
		return User{}, fmt.Errorf("user %q: write NAME=GROUP,GROUP", text)
	}
	user := User{Name: name}
	for group := range strings.SplitSeq(groups, ",") {
		if group != "" {
			user.Groups = append(user.Groups, group)
		}
	}
	return user, nil
}

func newToken() (string, error) {
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	return hex.EncodeToString(random), nil
}

// writeTokens gives each user a token and writes the file that the API server reads them from.
func writeTokens(path string, users []User) error {
	var lines strings.Builder
	for i := range users {
		token, err := newToken()
		if err != nil {
			return err
		}
		users[i].token = token
		fmt.Fprintf(&lines, "%s,%q,%q,%q\n", token, users[i].Name, users[i].Name, strings.Join(users[i].Groups, ","))
	}
	return os.WriteFile(path, []byte(lines.String()), 0o600)
}

// writeKubeconfig writes a kubeconfig that needs no other file.
func writeKubeconfig(path, server string, authority []byte, user User) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["tidegate"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: authority}
	config.AuthInfos[user.Name] = &clientcmdapi.AuthInfo{Token: user.token}
	config.Contexts[user.Name] = &clientcmdapi.Context{Cluster: "tidegate", AuthInfo: user.Name}
	config.CurrentContext = user.Name
	return clientcmd.WriteToFile(*config, path)
}

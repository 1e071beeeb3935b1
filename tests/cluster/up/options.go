package up

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"tidegate.dev/tests/cluster/node/process"
	"tidegate.dev/tests/cluster/plane"
)

// options are the command line of `up`, resolved once.
type options struct {
	dir            string
	keep           bool
	processNodes   int
	paperNodes     int
	podsPerNode    int
	images         process.Images
	users          []plane.User
	emulate        string
	audit          string
	join           string
	silentNodes    time.Duration
	firstBackoff   time.Duration
	longestBackoff time.Duration
}

func parseOptions(args []string, usage io.Writer) (*options, error) {
	o := &options{images: process.Images{}, users: plane.DefaultUsers()}
	flags := flag.NewFlagSet("tidegate-cluster up", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&o.dir, "dir", "", "`DIRECTORY` for everything the cluster writes; must not exist or be empty (default: a new one, in memory where possible)")
	flags.BoolVar(&o.keep, "keep", false, "leave the directory behind at the end, for its logs")
	flags.IntVar(&o.processNodes, "process-nodes", 1, "`NUMBER` of nodes that run pods as local processes")
	flags.IntVar(&o.paperNodes, "paper-nodes", 0, "`NUMBER` of nodes that only report what their pods' annotations say")
	flags.IntVar(&o.podsPerNode, "node-pods", 1000, "`NUMBER` of pods that a node takes")
	flags.Func("image", "`NAME=COMMAND` that stands for an image's entrypoint, NAME with or without tag; may be repeated", o.images.Add)
	flags.Func("user", "`NAME=GROUP,GROUP` of somebody whom the API server knows; may be repeated, replaces a default user", func(text string) error {
		user, err := plane.ParseUser(text)
		if err != nil {
			return err
		}
		o.addUser(user)
		return nil
	})
	flags.StringVar(&o.emulate, "emulate", "", "Kubernetes `VERSION` to behave like, as 1.34")
	flags.StringVar(&o.audit, "audit", "", "`FILE` for the API server's audit log (who did what to which object)")
	flags.StringVar(&o.join, "join", "", "`KUBECONFIG` of an administrator of another cluster: no control plane is started, the nodes join that one, users are impersonated there")
	flags.DurationVar(&o.silentNodes, "silent-nodes", 6*time.Second, "how long a node may say nothing, as a `DURATION`, before it is taken for lost and its pods for not Ready")
	flags.Func("backoff", "`FIRST,LONGEST` pause before a crashing container is started again (default 1s,30s)", o.parseBackoff)
	o.firstBackoff, o.longestBackoff = time.Second, 30*time.Second
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: see tidegate-cluster up --help", flags.Arg(0))
	}
	if o.join != "" && (o.audit != "" || o.emulate != "") {
		return nil, errors.New("--audit and --emulate are for a control plane of our own: leave them out with --join")
	}
	if o.silentNodes < time.Second {
		return nil, fmt.Errorf("--silent-nodes must be at least 1s: nodes speak up once in a while only")
	}
	if o.processNodes < 0 || o.paperNodes < 0 || o.podsPerNode < 1 {
		return nil, fmt.Errorf("--process-nodes and --paper-nodes must not be negative, --node-pods must be at least 1")
	}
	return o, nil
}

func (o *options) addUser(user plane.User) {
	for i := range o.users {
		if o.users[i].Name == user.Name {
			o.users[i] = user
			return
		}
	}
	o.users = append(o.users, user)
}

func (o *options) parseBackoff(text string) error {
	first, longest, found := strings.Cut(text, ",")
	if !found {
		longest = "30s"
	}
	var errs [2]error
	o.firstBackoff, errs[0] = time.ParseDuration(first)
	o.longestBackoff, errs[1] = time.ParseDuration(longest)
	if errors.Join(errs[:]...) != nil || o.firstBackoff <= 0 || o.longestBackoff < o.firstBackoff {
		return errors.New("write FIRST,LONGEST as 1s,30s")
	}
	return nil
}

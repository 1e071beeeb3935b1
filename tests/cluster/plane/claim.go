package plane

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Claims holds ports and loopback networks for this cluster, so that clusters started at the same time never choose
// the same ones. A claim is an abstract socket: the kernel gives it back when the process dies. Ports are chosen
// below the range that the kernel gives to outgoing connections. It does not keep other programs from a port.
type Claims struct {
	held []net.Listener
}

func (c *Claims) take(name string) bool {
	listener, err := net.Listen("unix", "@tidegate-cluster/"+name)
	if err != nil {
		return false
	}
	c.held = append(c.held, listener)
	return true
}

// Port claims a TCP port that is free on 127.0.0.1.
func (c *Claims) Port() (int, error) {
	const first, count = 20000, 12000
	for range 1000 {
		port := first + rand.IntN(count)
		if !c.take("port/" + strconv.Itoa(port)) {
			continue
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			return 0, err
		}
		return port, nil
	}
	return 0, fmt.Errorf("found no free port on 127.0.0.1 from %d to %d: stop what is using them", first, first+count)
}

// Network claims one network 127.x.0.0/16 for the addresses of pods and returns x.
func (c *Claims) Network() (byte, error) {
	const first, last = 16, 250
	offset := rand.IntN(last - first + 1)
	for i := range last - first + 1 {
		x := first + (offset+i)%(last-first+1)
		if c.take("network/" + strconv.Itoa(x)) {
			return byte(x), nil
		}
	}
	return 0, errors.New("every network 127.16.0.0/16 to 127.250.0.0/16 belongs to a running cluster: stop one")
}

package process

import (
	"errors"
	"fmt"
	"sync"
)

// Addresses gives out the addresses of one loopback network 127.x.0.0/16. A freed one is used again as late as
// possible, so that whoever still knows a pod's old address does not reach another pod.
type Addresses struct {
	network byte

	mu    sync.Mutex
	next  int
	freed []string
}

// NewAddresses makes the addresses of 127.network.0.0/16.
func NewAddresses(network byte) *Addresses {
	return &Addresses{network: network}
}

func (a *Addresses) take() (string, error) {
	const last = 254 * 254
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next < last {
		n := a.next
		a.next++
		return fmt.Sprintf("127.%d.%d.%d", a.network, n/254+1, n%254+1), nil
	}
	if len(a.freed) == 0 {
		return "", errors.New("every pod address is in use")
	}
	address := a.freed[0]
	a.freed = a.freed[1:]
	return address, nil
}

func (a *Addresses) free(address string) {
	if address == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.freed = append(a.freed, address)
}

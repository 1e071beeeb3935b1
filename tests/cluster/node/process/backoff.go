package process

import "time"

// backoff is the pause before a container is started again. As with a kubelet, the first restart comes at once, and a
// container that ran for long starts from the beginning.
type backoff struct {
	first, longest time.Duration
	next           time.Duration
}

// pause says how long to wait after a run of the given length.
func (b *backoff) pause(ran time.Duration) time.Duration {
	if ran >= 2*b.longest {
		b.next = 0
	}
	now := b.next
	b.next = min(max(2*b.next, b.first), b.longest)
	return now
}

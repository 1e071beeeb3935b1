package process

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Output is what one run of a container has written, each line with its time. It is kept in two files at most: when
// the newer is full, the older goes.
type Output struct {
	base string
	from io.ReadCloser

	mu      sync.Mutex
	file    *os.File
	segment int // of the file that is written; the one before may be there too
	size    int
	ended   bool
	changed chan struct{} // closed at each change
}

const (
	segmentBytes = 10 << 20
	lineBytes    = 64 << 10 // a longer line is kept as several
)

// newOutput keeps what can be read, in files whose paths begin with base.
func newOutput(base string, from io.ReadCloser) (*Output, error) {
	o := &Output{base: base, from: from, changed: make(chan struct{})}
	file, err := os.Create(o.path(0))
	if err != nil {
		return nil, err
	}
	o.file = file
	go o.copy()
	return o, nil
}

func (o *Output) path(segment int) string {
	return fmt.Sprintf("%s.%d", o.base, segment)
}

func (o *Output) copy() {
	defer o.from.Close()
	reader := bufio.NewReaderSize(o.from, lineBytes)
	for {
		line, err := reader.ReadSlice('\n')
		if len(line) > 0 {
			o.write(line)
		}
		if err != nil && err != bufio.ErrBufferFull {
			break
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	_ = o.file.Close()
	o.announce()
}

func (o *Output) write(line []byte) {
	entry := make([]byte, 0, len(line)+len(time.RFC3339Nano)+2)
	entry = time.Now().UTC().AppendFormat(entry, time.RFC3339Nano)
	entry = append(entry, ' ')
	entry = append(entry, line...)
	if line[len(line)-1] != '\n' {
		entry = append(entry, '\n')
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.size+len(entry) > segmentBytes {
		next, err := os.Create(o.path(o.segment + 1))
		if err != nil {
			return
		}
		_ = o.file.Close()
		_ = os.Remove(o.path(o.segment - 1))
		o.file, o.segment, o.size = next, o.segment+1, 0
	}
	n, _ := o.file.Write(entry) // A full disk loses lines, and nothing else.
	o.size += n
	o.announce()
}

func (o *Output) announce() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// remove deletes the files.
func (o *Output) remove() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for segment := max(0, o.segment-1); segment <= o.segment; segment++ {
		_ = os.Remove(o.path(segment))
	}
}

// OutputOptions say which part of an output is wanted, as in the pod log API.
type OutputOptions struct {
	Follow     bool
	Timestamps bool
	Tail       int // negative: everything
	Since      time.Time
}

// Send writes the output to the writer; flush is called when there is nothing more for the moment.
func (o *Output) Send(ctx context.Context, to io.Writer, flush func(), options OutputOptions) error {
	o.mu.Lock()
	segment := max(0, o.segment-1)
	if segment < o.segment {
		if _, err := os.Stat(o.path(segment)); err != nil {
			segment = o.segment
		}
	}
	o.mu.Unlock()

	var held [][]byte // the last lines, until the end is reached for the first time
	caughtUp := options.Tail < 0
	emit := func(entry []byte) error {
		stamp, line, _ := bytes.Cut(entry, []byte{' '})
		if !options.Since.IsZero() {
			if at, err := time.Parse(time.RFC3339Nano, string(stamp)); err == nil && at.Before(options.Since) {
				return nil
			}
		}
		if !options.Timestamps {
			entry = line
		}
		if !caughtUp {
			held = append(held, bytes.Clone(entry))
			if len(held) > options.Tail {
				held = held[1:]
			}
			return nil
		}
		_, err := to.Write(entry)
		return err
	}
	for {
		file, err := os.Open(o.path(segment))
		if err != nil {
			return err
		}
		more, err := o.sendSegment(ctx, file, segment, options.Follow, emit, func() error {
			caughtUp = true
			for _, line := range held {
				if _, err := to.Write(line); err != nil {
					return err
				}
			}
			held = nil
			flush()
			return nil
		})
		_ = file.Close()
		if err != nil || !more {
			return err
		}
		segment++
	}
}

// sendSegment hands over the lines of one file; more says that there is a next file.
func (o *Output) sendSegment(ctx context.Context, file *os.File, segment int, follow bool, emit func([]byte) error, atEnd func() error) (more bool, err error) {
	reader := bufio.NewReaderSize(nil, 2*lineBytes)
	for offset := int64(0); ; {
		o.mu.Lock()
		current, ended, changed, end := o.segment, o.ended, o.changed, int64(o.size)
		o.mu.Unlock()
		if segment < current {
			end = 2 * segmentBytes // It is complete.
		}
		// Never beyond what is known to be written, so that no entry is seen in part.
		reader.Reset(io.NewSectionReader(file, offset, end-offset))
		offset = end
		for {
			entry, err := reader.ReadSlice('\n')
			if err == io.EOF {
				break
			}
			if err != nil {
				return false, err
			}
			if err := emit(entry); err != nil {
				return false, err
			}
		}
		if segment < current {
			return true, nil
		}
		if err := atEnd(); err != nil || ended || !follow {
			return false, err
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-changed:
		}
	}
}

// waitEnd waits until everything that anybody writes is there, or for that long; false when somebody may still write.
func (o *Output) waitEnd(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		o.mu.Lock()
		ended, changed := o.ended, o.changed
		o.mu.Unlock()
		if ended {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		}
	}
}

// abandon ends the output although somebody may still write.
func (o *Output) abandon() { _ = o.from.Close() }

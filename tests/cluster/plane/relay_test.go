package plane

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"
)

// echoed makes a relay in front of a server that sends every line back, and a connection through it.
func echoed(t *testing.T) (*Relay, net.Conn, *bufio.Reader) {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		for {
			connection, err := server.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(connection, connection) }()
		}
	}()
	relay, err := NewRelay(0, server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	connection, err := net.Dial("tcp", relay.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return relay, connection, bufio.NewReader(connection)
}

// roundTrip sends a line and waits at most that long for it to come back.
func roundTrip(connection net.Conn, reader *bufio.Reader, limit time.Duration) (took time.Duration, err error) {
	began := time.Now()
	if _, err := io.WriteString(connection, "line\n"); err != nil {
		return 0, err
	}
	_ = connection.SetReadDeadline(began.Add(limit))
	_, err = reader.ReadString('\n')
	return time.Since(began), err
}

func TestADelayHoldsEachDirectionAndEndsAtOnce(t *testing.T) {
	relay, connection, reader := echoed(t)
	relay.Delay(50 * time.Millisecond)
	if took, err := roundTrip(connection, reader, 5*time.Second); err != nil || took < 100*time.Millisecond {
		t.Errorf("took %s, %v", took, err)
	}
	relay.Delay(time.Hour)
	time.AfterFunc(50*time.Millisecond, func() { relay.Delay(0) })
	if took, err := roundTrip(connection, reader, 5*time.Second); err != nil {
		t.Errorf("took %s, %v", took, err)
	}
}

func TestAHangKeepsWhatItHoldsUntilItIsResumed(t *testing.T) {
	relay, connection, reader := echoed(t)
	relay.Hang()
	if _, err := roundTrip(connection, reader, 100*time.Millisecond); err == nil {
		t.Error("something came through")
	}
	relay.Resume()
	_ = connection.SetReadDeadline(time.Now().Add(5 * time.Second))
	if line, err := reader.ReadString('\n'); err != nil || line != "line\n" {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestACutClosesOldAndNewConnectionsUntilItIsResumed(t *testing.T) {
	relay, connection, reader := echoed(t)
	if _, err := roundTrip(connection, reader, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	relay.Cut()
	if _, err := roundTrip(connection, reader, 5*time.Second); err == nil {
		t.Error("the old connection lives")
	}
	for _, alive := range []bool{false, true} {
		if alive {
			relay.Resume()
		}
		again, err := net.Dial("tcp", relay.Address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := roundTrip(again, bufio.NewReader(again), 5*time.Second); (err == nil) != alive {
			t.Errorf("alive should be %t: %v", alive, err)
		}
		_ = again.Close()
	}
}

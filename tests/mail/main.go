// tidegate-mail is an SMTP server for stories. It says where it listens in its first line, and each mail that it takes in a line of JSON.
//
// It delivers nothing. Who may send is MAIL_USER with MAIL_PASSWORD, when they are set.
package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// mail is one that was taken.
type mail struct {
	From string   `json:"from"`
	To   []string `json:"to"`
	User string   `json:"user"`
	TLS  bool     `json:"tls"`
	Data string   `json:"data"`
}

// said keeps lines whole: sessions say them at the same time.
var said sync.Mutex

func say(line any) error {
	said.Lock()
	defer said.Unlock()
	return json.NewEncoder(os.Stdout).Encode(line)
}

type session struct {
	mail mail
}

func (s *session) needsLogin() bool {
	return os.Getenv("MAIL_USER") != "" && s.mail.User == ""
}

func (s *session) AuthMechanisms() []string {
	if os.Getenv("MAIL_USER") == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != os.Getenv("MAIL_USER") || password != os.Getenv("MAIL_PASSWORD") {
			return smtp.ErrAuthFailed
		}
		s.mail.User = user
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.needsLogin() {
		return smtp.ErrAuthRequired
	}
	s.mail.From = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.To = append(s.mail.To, to)
	return nil
}

func (s *session) Data(data io.Reader) error {
	text, err := io.ReadAll(data)
	if err != nil {
		return err
	}
	s.mail.Data = string(text)
	return say(s.mail)
}

func (s *session) Reset() {
	s.mail.From, s.mail.To, s.mail.Data = "", nil, ""
}

func (s *session) Logout() error {
	return nil
}

func run() error {
	certificate := flag.String("certificate", "", "PEM; with it, and the key, TLS is offered")
	key := flag.String("key", "", "PEM")
	implicit := flag.Bool("implicit", false, "TLS from the first byte, not after STARTTLS")
	flag.Parse()

	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		_, encrypted := c.TLSConnectionState()
		return &session{mail: mail{TLS: encrypted}}, nil
	}))
	server.Domain = "mail.story"
	server.MaxMessageBytes = 1 << 20
	server.ReadTimeout, server.WriteTimeout = time.Minute, time.Minute
	server.ErrorLog = log.New(os.Stderr, "", log.LstdFlags)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if *certificate != "" {
		pair, err := tls.LoadX509KeyPair(*certificate, *key)
		if err != nil {
			return err
		}
		config := &tls.Config{Certificates: []tls.Certificate{pair}}
		if *implicit {
			listener = tls.NewListener(listener, config)
		} else {
			server.TLSConfig = config
		}
	}
	if err := say(listener.Addr().String()); err != nil {
		return err
	}
	// Whoever started it ends it by closing its input: none is left behind.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, smtp.ErrServerClosed) {
		return err
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"bookstore.platform/istio/nodeproxy/istiod/istiodtest"
	"bookstore.platform/istio/nodeproxy/spiffeid"
)

const (
	web = "spiffe://cluster.local/ns/shop/sa/web"
	db  = "spiffe://cluster.local/ns/data/sa/db"
)

// clock is the time of day, ahead of the real one by a settable amount.
type clock struct {
	mutex sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(by time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.ahead += by
}

func start(t *testing.T, edits ...func(*Config)) (*istiodtest.Server, *Manager) {
	t.Helper()
	server := istiodtest.Start(t)
	config := Config{Istiod: server.Config(), Poll: 5 * time.Millisecond, Log: slog.New(slog.DiscardHandler)}
	for _, edit := range edits {
		edit(&config)
	}
	m := New(config)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { m.Run(ctx); close(done) }()
	t.Cleanup(func() {
		cancel()
		<-done
		if faults := server.Faults(); len(faults) > 0 {
			t.Errorf("the client did wrong: %v", faults)
		}
	})
	return server, m
}

// soon is a context for what must come; shortly one for what must not.
func soon(t *testing.T) context.Context { return within(t, 10*time.Second) }

func shortly(t *testing.T) context.Context { return within(t, 150*time.Millisecond) }

func within(t *testing.T, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func serverConfig(t *testing.T, m *Manager, identity string) *tls.Config {
	t.Helper()
	config, err := m.ServerConfig(soon(t), identity)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func clientConfig(t *testing.T, m *Manager, identity string, accepted ...string) *tls.Config {
	t.Helper()
	config, err := m.ClientConfig(soon(t), identity, accepted)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// handshake joins both ends and returns what each saw. A client learns of a refused certificate only when it reads.
func handshake(t *testing.T, client, server *tls.Config) (atClient, atServer tls.ConnectionState, err error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	failed := make(chan error, 1)
	go func() {
		connection, err := listener.Accept()
		if err != nil {
			failed <- err
			return
		}
		defer func() { _ = connection.Close() }()
		secured := tls.Server(connection, server)
		err = secured.HandshakeContext(soon(t))
		if err == nil {
			atServer = secured.ConnectionState()
			_, err = secured.Write([]byte("x"))
		}
		failed <- err
	}()
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	secured := tls.Client(connection, client)
	clientErr := secured.HandshakeContext(soon(t))
	if clientErr == nil {
		_, clientErr = secured.Read(make([]byte, 1))
		atClient = secured.ConnectionState()
	}
	_ = connection.Close()
	serverErr := <-failed
	return atClient, atServer, errors.Join(clientErr, serverErr)
}

// credentials are settings of a peer of its own making, which itself verifies nothing.
func credentials(t *testing.T, ca *istiodtest.CA, template *x509.Certificate, more ...*x509.Certificate) *tls.Config {
	t.Helper()
	key := istiodtest.NewKey(t)
	leaf := ca.Sign(t, template, key.Public())
	pair := tls.Certificate{PrivateKey: key, Certificate: [][]byte{leaf.Raw}}
	for _, one := range more {
		pair.Certificate = append(pair.Certificate, one.Raw)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"h2"},
		MinVersion: tls.VersionTLS12,
	}
}

func id(t *testing.T, text string) spiffeid.ID {
	t.Helper()
	parsed, err := spiffeid.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// held returns the certificate that the manager holds, nil for none.
func held(m *Manager, uri string) *certificate {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if e := m.entries[uri]; e != nil {
		return e.current
	}
	return nil
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func leafUntil(t *testing.T, left time.Duration) *x509.Certificate {
	t.Helper()
	now := time.Now()
	return istiodtest.NewCA(t, "root").Sign(t, istiodtest.Leaf(t, now.Add(-time.Minute), now.Add(left), db), istiodtest.NewKey(t).Public())
}

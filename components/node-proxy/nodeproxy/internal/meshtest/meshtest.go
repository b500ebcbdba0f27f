// Package meshtest holds, for tests, a control plane that says what the test tells it, and identities of a certificate authority of its own.
package meshtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bookstore.platform/istio/nodeproxy/mesh"
)

// Control answers by its functions; one that is not set refuses or knows nothing.
type Control struct {
	mutex    sync.Mutex
	changed  chan struct{}
	ready    bool
	outbound func(mesh.Pod, netip.AddrPort) mesh.Route
	inbound  func(mesh.Pod, mesh.Connection) mesh.Decision
	members  map[netip.Addr]bool
	names    map[string][]netip.Addr
}

// NewControl makes a control plane that has no state yet.
func NewControl() *Control {
	return &Control{changed: make(chan struct{}), members: map[netip.Addr]bool{}, names: map[string][]netip.Addr{}}
}

// Set changes the state and tells so.
func (c *Control) Set(change func(*State)) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	state := &State{Ready: c.ready, Outbound: c.outbound, Inbound: c.inbound, Members: c.members, Names: c.names}
	change(state)
	c.ready, c.outbound, c.inbound = state.Ready, state.Outbound, state.Inbound
	close(c.changed)
	c.changed = make(chan struct{})
}

// State is what a test sets.
type State struct {
	Ready    bool
	Outbound func(mesh.Pod, netip.AddrPort) mesh.Route
	Inbound  func(mesh.Pod, mesh.Connection) mesh.Decision
	Members  map[netip.Addr]bool
	Names    map[string][]netip.Addr
}

// Identity implements mesh.Control.
func (c *Control) Identity(pod mesh.Pod) (string, error) {
	if pod.ServiceAccount == "unknown" {
		return "", errors.New("not known")
	}
	return "spiffe://cluster.local/ns/" + pod.Namespace + "/sa/" + pod.ServiceAccount, nil
}

// Outbound implements mesh.Control.
func (c *Control) Outbound(pod mesh.Pod, destination netip.AddrPort) mesh.Route {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !c.ready || c.outbound == nil {
		return mesh.Route{}
	}
	return c.outbound(pod, destination)
}

// Inbound implements mesh.Control.
func (c *Control) Inbound(pod mesh.Pod, connection mesh.Connection) mesh.Decision {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !c.ready || c.inbound == nil {
		return mesh.Decision{}
	}
	return c.inbound(pod, connection)
}

// Describe implements mesh.Control.
func (c *Control) Describe(address netip.Addr) mesh.Labels {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !c.members[address] {
		return nil
	}
	return mesh.Labels{"source_workload": address.String(), "destination_workload": address.String()}
}

// Changed implements mesh.Control.
func (c *Control) Changed() <-chan struct{} {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.changed
}

// Ready implements mesh.Control.
func (c *Control) Ready() bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.ready
}

// Resolve implements mesh.Control.
func (c *Control) Resolve(_ mesh.Pod, name string) ([]netip.Addr, bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	addresses, known := c.names[strings.ToLower(name)]
	return addresses, known
}

// Identities signs certificates by its own authority.
type Identities struct {
	t     testing.TB
	key   *ecdsa.PrivateKey
	root  *x509.Certificate
	mutex sync.Mutex
	kept  []string
	leaf  func(identity string, template *x509.Certificate)
	bare  bool
}

// Spoil makes the certificates of identities others than they should be.
func (i *Identities) Spoil(leaf func(identity string, template *x509.Certificate)) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.leaf = leaf
}

// NoClientCertificate leaves those of clients out.
func (i *Identities) NoClientCertificate() {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.bare = true
}

// NewIdentities makes an authority.
func NewIdentities(t testing.TB) *Identities {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Identities{t: t, key: key, root: root}
}

func (i *Identities) certificate(identity string) (tls.Certificate, error) {
	name, err := url.Parse(identity)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	i.mutex.Lock()
	if i.leaf != nil {
		i.leaf(identity, template)
	}
	i.mutex.Unlock()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.root, &key.PublicKey, i.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func (i *Identities) verify(usage x509.ExtKeyUsage, accepted []string) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		identity, err := i.PeerIdentity(state)
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		roots.AddCert(i.root)
		options := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}}
		if _, err := state.PeerCertificates[0].Verify(options); err != nil {
			return err
		}
		if accepted != nil && !slices.Contains(accepted, "spiffe://"+identity) {
			return errors.New("the peer is " + identity)
		}
		return nil
	}
}

// ServerConfig implements mesh.Identities.
func (i *Identities) ServerConfig(_ context.Context, identity string) (*tls.Config, error) {
	certificate, err := i.certificate(identity)
	return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, ClientAuth: tls.RequireAnyClientCert,
		SessionTicketsDisabled: true, Certificates: []tls.Certificate{certificate},
		VerifyConnection: i.verify(x509.ExtKeyUsageClientAuth, nil)}, err
}

// ClientConfig implements mesh.Identities.
func (i *Identities) ClientConfig(_ context.Context, identity string, accepted []string) (*tls.Config, error) {
	certificate, err := i.certificate(identity)
	config := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		InsecureSkipVerify: true, VerifyConnection: i.verify(x509.ExtKeyUsageServerAuth, accepted)}
	i.mutex.Lock()
	defer i.mutex.Unlock()
	if !i.bare {
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, err
}

// PeerIdentity implements mesh.Identities.
func (i *Identities) PeerIdentity(state tls.ConnectionState) (string, error) {
	if len(state.PeerCertificates) == 0 || len(state.PeerCertificates[0].URIs) != 1 {
		return "", errors.New("not one identity")
	}
	identity, ok := strings.CutPrefix(state.PeerCertificates[0].URIs[0].String(), "spiffe://")
	if !ok {
		return "", errors.New("no SPIFFE identity")
	}
	return identity, nil
}

// Keep implements mesh.Identities.
func (i *Identities) Keep(identities []string) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.kept = identities
}

// Kept returns what was announced last.
func (i *Identities) Kept() []string {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	return i.kept
}

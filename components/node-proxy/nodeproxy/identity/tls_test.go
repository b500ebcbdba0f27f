package identity

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"bookstore.platform/istio/nodeproxy/istiod/istiodtest"
)

func TestBothSidesProveThemselves(t *testing.T) {
	_, m := start(t)
	atClient, atServer, err := handshake(t, clientConfig(t, m, web, db), serverConfig(t, m, strings.TrimPrefix(db, "spiffe://")))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		state tls.ConnectionState
		want  string
	}{"client": {atServer, web}, "server": {atClient, db}} {
		if got, err := m.PeerIdentity(test.state); err != nil || "spiffe://"+got != test.want {
			t.Errorf("the %s is %q (%v), want %s", name, got, err, test.want)
		}
		if test.state.Version != tls.VersionTLS13 || test.state.NegotiatedProtocol != "h2" || test.state.ServerName != "" {
			t.Errorf("the %s's connection: %+v", name, test.state)
		}
	}
	if _, err := m.PeerIdentity(tls.ConnectionState{}); err == nil {
		t.Error("no certificate has an identity")
	}
	if _, err := m.PeerIdentity(tls.ConnectionState{HandshakeComplete: true}); err == nil {
		t.Error("a peer without certificate has an identity")
	}
}

func TestASessionIsNotResumed(t *testing.T) {
	_, m := start(t)
	client, server := clientConfig(t, m, web, db), serverConfig(t, m, db)
	client.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	client.ServerName = "server" // sessions are kept by this name; by address each connection here would be another
	for range 3 {
		atClient, _, err := handshake(t, client, server)
		if err != nil {
			t.Fatal(err)
		}
		if atClient.DidResume {
			t.Fatal("a session was resumed")
		}
	}
}

// A peer with each fault, as a client at our server and as a server at our client; and the one without a fault, or the rest says nothing.
func TestPeersThatAreRefused(t *testing.T) {
	server, m := start(t)
	ours := serverConfig(t, m, web)
	atOurs := clientConfig(t, m, web, db)
	now := time.Now()
	leaf := func(uris ...string) *x509.Certificate {
		return istiodtest.Leaf(t, now.Add(-time.Minute), now.Add(time.Hour), uris...)
	}
	edited := func(edit func(*x509.Certificate)) *x509.Certificate {
		template := leaf(db)
		edit(template)
		return template
	}
	foreign, middle := istiodtest.NewCA(t, "foreign"), server.CA.Intermediate(t, "middle")
	tests := map[string]struct {
		peer   *tls.Config
		reason string
	}{
		"good":                     {credentials(t, server.CA, leaf(db)), ""},
		"good, by an intermediate": {credentials(t, middle, leaf(db), middle.Certificate), ""},
		"intermediate left out":    {credentials(t, middle, leaf(db)), "unknown authority"},
		"foreign CA":               {credentials(t, foreign, leaf(db)), "unknown authority"},
		"foreign CA in the chain":  {credentials(t, foreign, leaf(db), foreign.Certificate), "unknown authority"},
		"expired":                  {credentials(t, server.CA, istiodtest.Leaf(t, now.Add(-time.Hour), now.Add(-time.Minute), db)), "expired"},
		"not valid yet":            {credentials(t, server.CA, istiodtest.Leaf(t, now.Add(time.Hour), now.Add(2*time.Hour), db)), "not yet valid"},
		"two URIs":                 {credentials(t, server.CA, leaf(db, web)), "2 URIs"},
		"no URI":                   {credentials(t, server.CA, leaf()), "0 URIs"},
		"name instead of URI":      {credentials(t, server.CA, edited(func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{"db"} })), "0 URIs"},
		"not SPIFFE":               {credentials(t, server.CA, leaf("https://cluster.local/ns/data/sa/db")), "not of SPIFFE"},
		"no identity":              {credentials(t, server.CA, leaf("spiffe://cluster.local/ns/data")), "is not <trust domain>"},
		"escaped":                  {credentials(t, server.CA, leaf("spiffe://cluster.local/ns/data/sa/d%62")), "cannot have"},
		"a CA itself": {credentials(t, server.CA, edited(func(c *x509.Certificate) {
			c.IsCA = true
			c.KeyUsage |= x509.KeyUsageCertSign
		})), "of a CA"},
		"for other use": {credentials(t, server.CA, edited(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} })),
			"incompatible key usage"},
	}
	for name, test := range tests {
		for side, pair := range map[string][2]*tls.Config{"as client": {test.peer, ours}, "as server": {atOurs, test.peer}} {
			_, _, err := handshake(t, pair[0], pair[1])
			if (err == nil) != (test.reason == "") || err != nil && !strings.Contains(err.Error(), test.reason) {
				t.Errorf("%s %s: %v, want %q", name, side, err, test.reason)
			}
		}
	}
	sides := map[string]struct {
		client, server *tls.Config
		reason         string
	}{
		"another identity than accepted": {atOurs, credentials(t, server.CA, leaf("spiffe://cluster.local/ns/data/sa/other")), "instead of one of"},
		"another trust domain as server": {atOurs, credentials(t, server.CA, leaf("spiffe://example.org/ns/data/sa/db")), "instead of one of"},
		"another trust domain as client": {credentials(t, server.CA, leaf("spiffe://example.org/ns/data/sa/db")), ours, "trust domain"},
		"no certificate": {&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13}, ours,
			"didn't provide a certificate"},
		"TLS 1.2": {func() *tls.Config {
			c := credentials(t, server.CA, leaf(db))
			c.MaxVersion = tls.VersionTLS12
			return c
		}(), ours, "unsupported versions"},
		"without ALPN": {func() *tls.Config {
			c := credentials(t, server.CA, leaf(db))
			c.NextProtos = nil
			return c
		}(), ours, "instead of h2"},
	}
	for name, test := range sides {
		if _, _, err := handshake(t, test.client, test.server); err == nil || !strings.Contains(err.Error(), test.reason) {
			t.Errorf("%s: %v, want %q", name, err, test.reason)
		}
	}
}

func TestTrustDomainsThatMayComeIn(t *testing.T) {
	server, m := start(t, func(c *Config) { c.TrustDomains = []string{"example.org"} })
	now := time.Now()
	peer := credentials(t, server.CA, istiodtest.Leaf(t, now.Add(-time.Minute), now.Add(time.Hour), "spiffe://example.org/ns/data/sa/db"))
	if _, _, err := handshake(t, peer, serverConfig(t, m, web)); err != nil {
		t.Error(err)
	}
}

func TestClientConfigWithoutAcceptedIdentities(t *testing.T) {
	_, m := start(t)
	for name, accepted := range map[string][]string{"none": nil, "no identity": {"db"}} {
		if _, err := m.ClientConfig(soon(t), web, accepted); err == nil {
			t.Errorf("%s: a peer of any identity would do", name)
		}
	}
}

// The root file: a second root is picked up beside the first, and one that is taken away no longer counts.
func TestRootRotation(t *testing.T) {
	server, m := start(t)
	ours := serverConfig(t, m, web)
	second, now := istiodtest.NewCA(t, "second"), time.Now()
	peer := credentials(t, second, istiodtest.Leaf(t, now.Add(-time.Minute), now.Add(time.Hour), db))
	try := func() error { _, _, err := handshake(t, peer, ours); return err }
	if try() == nil {
		t.Fatal("a certificate of an unknown root is accepted")
	}
	server.WriteRoots(server.CA, second)
	istiodtest.Eventually(t, "the second root counts", func() bool { return try() == nil })
	if _, _, err := handshake(t, clientConfig(t, m, db, web), ours); err != nil {
		t.Errorf("the first root no longer counts: %v", err)
	}
	server.WriteRoots()
	readings := m.roots.Load()
	istiodtest.Eventually(t, "an empty file was read", func() bool { m.readRoots(); return true })
	if m.roots.Load() != readings || try() != nil {
		t.Error("an empty file takes the roots away")
	}
	server.WriteRoots(server.CA)
	istiodtest.Eventually(t, "the second root no longer counts", func() bool { return try() != nil })
}

// A connection outlives its handshake: once the peer's certificate has ended, it has no identity any more.
func TestAPeerWhoseCertificateHasEnded(t *testing.T) {
	now := &clock{}
	server, m := start(t, func(c *Config) { c.Now = now.now })
	peer := credentials(t, server.CA, istiodtest.Leaf(t, time.Now().Add(-time.Minute), time.Now().Add(time.Hour), db))
	_, atServer, err := handshake(t, peer, serverConfig(t, m, web))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.PeerIdentity(atServer); err != nil {
		t.Fatal(err)
	}
	now.advance(2 * time.Hour)
	if got, err := m.PeerIdentity(atServer); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("the peer is still %q, %v", got, err)
	}
}

package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"bookstore.platform/istio/nodeproxy/spiffeid"
)

// ServerConfig implements mesh.Identities. The settings stay good over renewals: each handshake takes the certificate and the root
// certificates of its moment.
func (m *Manager) ServerConfig(ctx context.Context, identity string) (*tls.Config, error) {
	id, err := spiffeid.Parse(identity)
	if err != nil {
		return nil, err
	}
	if _, err := m.get(ctx, id); err != nil {
		return nil, err
	}
	config := base()
	config.ClientAuth = tls.RequireAnyClientCert // VerifyConnection verifies it; it runs for each handshake
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		held, err := m.during(hello.Context(), id)
		if err != nil {
			return nil, err
		}
		return &held.tls, nil
	}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		peer, err := m.verify(state, x509.ExtKeyUsageClientAuth)
		if err != nil {
			return err
		}
		if peer.TrustDomain != id.TrustDomain && !slices.Contains(m.config.TrustDomains, peer.TrustDomain) {
			return fmt.Errorf("the peer %s is of another trust domain", peer)
		}
		return nil
	}
	return config, nil
}

// ClientConfig implements mesh.Identities.
func (m *Manager) ClientConfig(ctx context.Context, identity string, accepted []string) (*tls.Config, error) {
	id, err := spiffeid.Parse(identity)
	if err != nil {
		return nil, err
	}
	var expected []spiffeid.ID
	for _, text := range accepted {
		one, err := spiffeid.Parse(text)
		if err != nil {
			return nil, err
		}
		expected = append(expected, one)
	}
	if len(expected) == 0 {
		return nil, errors.New("no identity is accepted of the peer")
	}
	if _, err := m.get(ctx, id); err != nil {
		return nil, err
	}
	config := base()
	// The peer is known by its identity, not by the name that was dialled: VerifyConnection verifies all there is.
	config.InsecureSkipVerify = true
	config.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		held, err := m.during(request.Context(), id)
		if err != nil {
			return nil, err
		}
		return &held.tls, nil
	}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		peer, err := m.verify(state, x509.ExtKeyUsageServerAuth)
		if err != nil {
			return err
		}
		if !slices.Contains(expected, peer) {
			return fmt.Errorf("the peer is %s instead of one of %v", peer, expected)
		}
		return nil
	}
	return config, nil
}

// during returns the certificate for a handshake, which need not have a deadline of its own.
func (m *Manager) during(ctx context.Context, id spiffeid.ID) (*certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return m.get(ctx, id)
}

func base() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		// A resumed session would keep an identity longer than its certificate.
		SessionTicketsDisabled: true,
	}
}

// PeerIdentity implements mesh.Identities.
func (m *Manager) PeerIdentity(state tls.ConnectionState) (string, error) {
	if !state.HandshakeComplete || len(state.PeerCertificates) == 0 {
		return "", errors.New("the peer has shown no certificate")
	}
	// A connection lives longer than its handshake: it opens no more streams in the name of a certificate that has ended.
	if leaf, now := state.PeerCertificates[0], m.now(); now.After(leaf.NotAfter) {
		return "", fmt.Errorf("the peer's certificate has ended at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	id, err := identityOf(state.PeerCertificates[0])
	if err != nil {
		return "", err
	}
	return id.String(), nil
}

func (m *Manager) verify(state tls.ConnectionState, usage x509.ExtKeyUsage) (spiffeid.ID, error) {
	if len(state.PeerCertificates) == 0 {
		return spiffeid.ID{}, errors.New("the peer has shown no certificate")
	}
	if state.NegotiatedProtocol != "h2" {
		return spiffeid.ID{}, fmt.Errorf("the peer speaks %q instead of h2", state.NegotiatedProtocol)
	}
	if err := m.roots.Load().verify(state.PeerCertificates, m.now(), usage); err != nil {
		return spiffeid.ID{}, err
	}
	return identityOf(state.PeerCertificates[0])
}

// verify tells whether a chain leads to a root certificate.
func (r *roots) verify(chain []*x509.Certificate, now time.Time, usage x509.ExtKeyUsage) error {
	if r.pool == nil || len(r.certificates) == 0 {
		return errors.New("no root certificates are known yet") // a nil pool would stand for those of the machine
	}
	if len(chain) == 0 {
		return errors.New("the chain is empty")
	}
	if chain[0].IsCA {
		return errors.New("the certificate is one of a CA")
	}
	between := x509.NewCertPool()
	for _, one := range chain[1:] {
		between.AddCert(one)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: r.pool, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err
}

// identityOf returns the identity of a workload's certificate: its one and only URI.
func identityOf(leaf *x509.Certificate) (spiffeid.ID, error) {
	if len(leaf.URIs) != 1 {
		return spiffeid.ID{}, fmt.Errorf("the certificate has %d URIs instead of one", len(leaf.URIs))
	}
	text := leaf.URIs[0].String()
	if leaf.URIs[0].Scheme != "spiffe" || len(text) <= len(spiffeid.Prefix) || text[:len(spiffeid.Prefix)] != spiffeid.Prefix {
		return spiffeid.ID{}, fmt.Errorf("the certificate's URI %q is not of SPIFFE", text)
	}
	return spiffeid.Parse(text)
}

package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/url"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"
	pb "istio.io/api/security/v1alpha1"

	"bookstore.platform/istio/nodeproxy/istiod"
	"bookstore.platform/istio/nodeproxy/spiffeid"
)

// certificate is a signed identity. It does not change.
type certificate struct {
	tls   tls.Certificate
	leaf  *x509.Certificate
	chain []*x509.Certificate
	// renew is when to ask for the next one.
	renew time.Time
}

func (c *certificate) validAt(now time.Time) bool {
	return c != nil && now.Before(c.leaf.NotAfter) && !now.Before(c.leaf.NotBefore)
}

// sign asks istiod for a certificate in the name of a workload of this node.
func (m *Manager) sign(ctx context.Context, connection *grpc.ClientConn, id spiffeid.ID) (*certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	uri, err := url.Parse(id.URI())
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{uri}}, key)
	if err != nil {
		return nil, err
	}
	call, err := istiod.WithToken(ctx, m.config.Istiod)
	if err != nil {
		return nil, err
	}
	answer, err := pb.NewIstioCertificateServiceClient(connection).CreateCertificate(call, &pb.IstioCertificateRequest{
		Csr:              string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
		ValidityDuration: int64(m.config.Lifetime.Seconds()),
		// istiod lets a trusted node account act for the workloads of its own node.
		Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{"ImpersonatedIdentity": structpb.NewStringValue(id.URI())}},
	})
	if err != nil {
		return nil, err
	}
	return m.accept(answer.GetCertChain(), id, key)
}

// accept checks an answer: it must be what was asked for, or it is not used. Its last element holds the root certificates.
func (m *Manager) accept(answer []string, id spiffeid.ID, key *ecdsa.PrivateKey) (*certificate, error) {
	if len(answer) == 0 {
		return nil, errors.New("istiod's answer holds no certificate")
	}
	bundle := ""
	if len(answer) > 1 {
		bundle, answer = answer[len(answer)-1], answer[:len(answer)-1]
	}
	var chain []*x509.Certificate
	for _, text := range answer {
		some, err := parsePEM([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("the chain in istiod's answer: %w", err)
		}
		chain = append(chain, some...)
	}
	if len(chain) == 0 {
		return nil, errors.New("istiod's answer holds no certificate")
	}
	leaf := chain[0]
	proven, err := identityOf(leaf)
	if err != nil {
		return nil, err
	}
	if proven != id {
		return nil, fmt.Errorf("istiod signed for %s instead of %s", proven, id)
	}
	if public, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(key.Public()) {
		return nil, errors.New("istiod signed another key than the one asked for")
	}
	m.mutex.Lock()
	mounted := m.mounted
	m.mutex.Unlock()
	trusted, err := newRoots([]byte(bundle), mounted)
	if err != nil {
		return nil, fmt.Errorf("the root certificates in istiod's answer: %w", err)
	}
	now := m.now()
	if err := trusted.verify(chain, now, x509.ExtKeyUsageClientAuth); err != nil {
		return nil, err
	}
	if err := trusted.verify(chain, now, x509.ExtKeyUsageServerAuth); err != nil {
		return nil, err
	}
	m.setRoots([]byte(bundle), nil)
	out := &certificate{leaf: leaf, chain: chain, tls: tls.Certificate{PrivateKey: key, Leaf: leaf}}
	for _, one := range chain {
		out.tls.Certificate = append(out.tls.Certificate, one.Raw)
	}
	// Half of what is left, give or take a tenth: not all of a node's at once.
	left := leaf.NotAfter.Sub(now)
	out.renew = now.Add(left*9/20 + mathrand.N(left/10+1))
	return out, nil
}

func parsePEM(data []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return out, nil
		}
		data = rest
		if block.Type != "CERTIFICATE" {
			continue
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
}

// roots are the certificates that identities must lead to. They do not change: each change makes new ones.
type roots struct {
	certificates []*x509.Certificate
	pool         *x509.CertPool
}

// newRoots returns the union of certificates in PEM.
func newRoots(texts ...[]byte) (*roots, error) {
	out := &roots{pool: x509.NewCertPool()}
	for _, text := range texts {
		certificates, err := parsePEM(text)
		if err != nil {
			return nil, err
		}
		for _, one := range certificates {
			if !one.IsCA {
				return nil, errors.New("a root certificate is not one of a CA")
			}
			known := false
			for _, other := range out.certificates {
				known = known || other.Equal(one)
			}
			if !known {
				out.certificates = append(out.certificates, one)
				out.pool.AddCert(one)
			}
		}
	}
	return out, nil
}

// setRoots replaces the root certificates of the answer or of the file; nil leaves them as they are.
func (m *Manager) setRoots(answered, mounted []byte) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if len(answered) == 0 {
		answered = m.answered
	}
	if len(mounted) == 0 {
		mounted = m.mounted
	}
	if bytes.Equal(answered, m.answered) && bytes.Equal(mounted, m.mounted) {
		return
	}
	next, err := newRoots(answered, mounted)
	if err != nil {
		m.config.Log.Error("root certificates are not used: the ones before stay", "error", err)
		return
	}
	m.answered, m.mounted = answered, mounted
	m.roots.Store(next)
	m.config.Log.Info("root certificates changed", "count", len(next.certificates))
}

// readRoots takes the mounted file in; one that cannot be read or holds nothing leaves the ones before.
func (m *Manager) readRoots() {
	data, err := os.ReadFile(m.config.Istiod.RootFile)
	if err != nil {
		m.config.Log.Error("the file of root certificates cannot be read: the ones before stay", "error", err)
		return
	}
	if certificates, err := parsePEM(data); err != nil || len(certificates) == 0 {
		m.config.Log.Error("the file of root certificates holds none: the ones before stay", "error", err)
		return
	}
	m.setRoots(nil, data)
}

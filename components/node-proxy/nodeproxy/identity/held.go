package identity

import (
	"crypto/x509"
	"sort"
)

// Held tells of the certificate of an identity, for the configuration dump. It holds no key.
type Held struct {
	// Identity is written with its prefix spiffe://.
	Identity string
	// Chain is empty while there is no certificate that is valid.
	Chain []*x509.Certificate
	// Failure is why the last attempt did not succeed; empty otherwise.
	Failure string
}

// Held returns the certificates of all identities, sorted, and the root certificates.
func (m *Manager) Held() ([]Held, []*x509.Certificate) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var out []Held
	for uri, e := range m.entries {
		one := Held{Identity: uri}
		if e.current.validAt(m.now()) {
			one.Chain = e.current.chain
		}
		if e.failure != nil {
			one.Failure = e.failure.Error()
		}
		out = append(out, one)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Identity < out[j].Identity })
	return out, m.roots.Load().certificates
}

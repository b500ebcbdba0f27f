package tunnel

import (
	"crypto/tls"
	"crypto/x509"
	"sync"
	"time"
)

// expiry notes, during a handshake, when the certificates of both sides end.
type expiry struct {
	mutex sync.Mutex
	end   time.Time
}

// watch has the settings note them.
func (e *expiry) watch(config *tls.Config) {
	verify := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if err := verify(state); err != nil {
			return err
		}
		if len(state.PeerCertificates) > 0 {
			e.note(state.PeerCertificates[0])
		}
		return nil
	}
	if choose := config.GetClientCertificate; choose != nil {
		config.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			own, err := choose(request)
			if err == nil {
				e.noteOwn(own)
			}
			return own, err
		}
		return
	}
	for i := range config.Certificates {
		e.noteOwn(&config.Certificates[i])
	}
}

func (e *expiry) noteOwn(own *tls.Certificate) {
	leaf := own.Leaf
	if leaf == nil && len(own.Certificate) > 0 {
		var err error
		if leaf, err = x509.ParseCertificate(own.Certificate[0]); err != nil {
			return // the peer cannot read it either
		}
	}
	if leaf != nil {
		e.note(leaf)
	}
}

func (e *expiry) note(leaf *x509.Certificate) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.end.IsZero() || leaf.NotAfter.Before(e.end) {
		e.end = leaf.NotAfter
	}
}

func (e *expiry) first() time.Time {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.end
}

package tunnel_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"bookstore.platform/istio/nodeproxy/tunnel"
)

// A connection takes no more streams from the time that a certificate of one of its sides is about to end.
func TestCertificateThatEnds(t *testing.T) {
	for _, side := range []string{client, server} {
		t.Run(side, func(t *testing.T) {
			e := start(t, accepting(func(_ tunnel.Request, s tunnel.Stream) { _, _ = io.Copy(s, s); _ = s.Close() }))
			e.identities.Spoil(func(identity string, template *x509.Certificate) {
				if identity == side {
					template.NotAfter = time.Now().Add(10 * time.Second)
				}
			})
			first := e.must("10.0.0.1:1")
			e.identities.Spoil(nil)
			e.must("10.0.0.1:1")
			e.must("10.0.0.1:1")
			if e.dials != 2 {
				t.Errorf("%d connections, want the old one and a new one", e.dials)
			}
			// What was open goes on.
			_, _ = io.WriteString(first, "still open")
			_ = first.CloseWrite()
			if got := bounded(t, "reading", all(first)); got.text != "still open" || got.err != nil {
				t.Error(got)
			}
		})
	}
}

// A refused certificate is told with the peer's address and the reason.
func TestRefusedCertificateIsTold(t *testing.T) {
	e := start(t, accepting(func(tunnel.Request, tunnel.Stream) { t.Error("served") }))
	told := make(chan string, 1)
	e.server.Refused = func(source netip.AddrPort, why error) {
		select {
		case told <- source.Addr().String() + " " + why.Error():
		default:
		}
	}
	e.identities.Spoil(func(identity string, template *x509.Certificate) {
		if identity == client {
			template.URIs = append(template.URIs, template.URIs...)
		}
	})
	if _, err := e.open("10.0.0.1:1", client, server); err == nil {
		t.Error("a certificate of two identities was taken")
	}
	if got := bounded(t, "the report", func() string { return <-told }); got != "127.0.0.1 the peer's certificate: not one identity" {
		t.Error(got)
	}
}

func TestSettingsThatVerifyNobody(t *testing.T) {
	e := start(t, accepting(func(tunnel.Request, tunnel.Stream) { t.Error("served") }))
	_, _, err := e.pool.Open(context.Background(), tunnel.Destination{
		Key: tunnel.Key{Pod: "p", Identity: client, Gateway: e.gateway}, Accepted: []string{server}, Authority: netip.MustParseAddrPort("10.0.0.1:1"),
		Dial: func(context.Context) (net.Conn, error) { return net.Dial("tcp4", e.gateway.String()) },
		TLS: func(ctx context.Context) (*tls.Config, error) {
			config, err := e.identities.ClientConfig(ctx, client, []string{server})
			config.VerifyConnection = nil
			return config, err
		},
	})
	if err == nil || !strings.Contains(err.Error(), "verify") {
		t.Error(err)
	}
}

// A peer of the mesh that itself means ill: endless headers end the stream, and it is asked for no compression of bytes that are not ours.
func TestHeadersOfAPeer(t *testing.T) {
	e := start(t, accepting(func(tunnel.Request, tunnel.Stream) { t.Error("served") }))
	config, err := e.identities.ServerConfig(context.Background(), server)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 1)
	protocols := &http.Protocols{}
	protocols.SetHTTP2(true)
	peer := &http.Server{Protocols: protocols, TLSConfig: config, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Get("Accept-Encoding")
		for i := range 16 {
			w.Header().Add("Long", strings.Repeat("x", i+4<<10))
		}
		w.WriteHeader(http.StatusOK)
	})}
	done := make(chan error, 1)
	go func() { done <- peer.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = peer.Close(); <-done })
	e.gateway = netip.MustParseAddrPort(listener.Addr().String())
	if _, err := e.open("10.0.0.1:1", client, server); err == nil {
		t.Error("64 KiB of headers were taken")
	}
	if got := <-asked; got != "" {
		t.Errorf("the peer is asked for the encoding %q", got)
	}
}

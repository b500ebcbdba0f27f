// Package istiod dials the control plane, for discovery and for certificates.
package istiod

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

// Config says where istiod is and how to prove to it who asks. Files are read at each use: both the token and the root are renewed in place.
type Config struct {
	// Address is istiod's host and port, for example istiod.istio-system.svc:15012.
	Address string
	// TokenFile holds the token of the proxy's own service account: bound to its pod, for the audience istio-ca.
	TokenFile string
	// RootFile holds the certificates that istiod's certificate must lead to.
	RootFile string
	// ClusterID is the cluster whose API server made the token.
	ClusterID string
}

const (
	connectTimeout = 10 * time.Second
	// A whole state comes in one message; gRPC's default of 4 MiB ends at some ten thousand pods.
	maxMessage = 256 << 20
)

// Dial prepares a connection to istiod with the root certificates of now. It connects at the first call.
func Dial(config Config) (*grpc.ClientConn, error) {
	host, _, err := net.SplitHostPort(config.Address)
	if err != nil {
		return nil, fmt.Errorf("istiod's address %q is not host:port: %w", config.Address, err)
	}
	data, err := os.ReadFile(config.RootFile)
	if err != nil {
		return nil, fmt.Errorf("the root certificates for istiod cannot be read: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate", config.RootFile)
	}
	return grpc.NewClient(config.Address,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12})),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
}

// WithToken adds the token of now to the calls of a context.
func WithToken(ctx context.Context, config Config) (context.Context, error) {
	data, err := os.ReadFile(config.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("the token for istiod cannot be read: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return nil, fmt.Errorf("the token for istiod is empty: %s", config.TokenFile)
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token, "clusterid", config.ClusterID), nil
}

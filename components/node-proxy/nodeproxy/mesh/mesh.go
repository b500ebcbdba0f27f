// Package mesh holds what the halves of the node proxy say to each other: which pods are served, where a connection
// goes, and whether it may enter. The data plane (sockets, tunnel, inbound, outbound) asks; the control plane
// (discovery, policy, identity) answers, always from memory and without blocking, but for certificates.
package mesh

import (
	"context"
	"crypto/tls"
	"net/netip"
	"strings"
)

// Pod is a pod of this node as istio-cni announces it. It carries no address and no trust domain.
type Pod struct {
	UID            string
	Name           string
	Namespace      string
	ServiceAccount string
}

// Action says what happens to an outbound connection.
type Action int

const (
	// Refuse closes the connection. It is the zero value, so that an answer that nobody filled in lets nothing through.
	Refuse Action = iota
	// PassThrough dials the original destination: it is outside of the mesh.
	PassThrough
	// Plain dials Route.Target, a workload of the mesh that takes plaintext.
	Plain
	// Tunnel opens an HBONE stream to Route.Target through Route.Gateway.
	Tunnel
)

// Labels are values of the standard metrics and of the access log, by the names that Istio gives them.
type Labels map[string]string

// Route is the answer to where a connection goes.
type Route struct {
	Action Action
	// Target is the endpoint: the address and port of the workload that is to get the bytes.
	Target netip.AddrPort
	// Gateway is where the tunnel ends: the address of the workload, port 15008.
	Gateway netip.AddrPort
	// Accepted are the SPIFFE identities one of which the peer must prove, as spiffe://domain/ns/n/sa/a. Never empty for Tunnel.
	Accepted []string
	// Reason says why, for the access log: a sentence for Refuse, empty otherwise.
	Reason string
	// Labels describe the destination.
	Labels Labels
}

// Connection is an inbound connection as policies see it.
type Connection struct {
	// Source is the address of the peer's socket; headers never change it.
	Source netip.Addr
	// Destination is the address and port of the pod that was asked for.
	Destination netip.AddrPort
	// Identity is what the peer's certificate proved, without the prefix spiffe://; empty for plaintext.
	Identity string
}

// Decision is the answer to whether a connection may enter.
type Decision struct {
	Allowed bool
	// Reason names the policy that decided, for the access log.
	Reason string
}

// Control is what the control plane answers.
type Control interface {
	// Identity returns the pod's SPIFFE identity; an error while discovery does not know the pod with this service account.
	Identity(pod Pod) (string, error)
	// Outbound returns where the pod's connection to a destination goes; Refuse while nothing is known yet.
	Outbound(pod Pod, destination netip.AddrPort) Route
	// Inbound returns whether a connection may enter the pod; refused while nothing is known yet.
	Inbound(pod Pod, connection Connection) Decision
	// Describe returns the labels of a workload by its address, for metrics; empty when it is not in the mesh.
	Describe(address netip.Addr) Labels
	// Changed returns a channel that is closed at the next change of policies or workloads: open connections are judged anew then.
	Changed() <-chan struct{}
	// Ready tells whether the first state of workloads and of policies has arrived.
	Ready() bool
	// Resolve answers a name for a pod (relative names by its namespace and the cluster's domain): the addresses, and whether the
	// mesh knows the name at all. Known with no address of a family is an empty answer, not a question for the next resolver.
	Resolve(pod Pod, name string) (addresses []netip.Addr, known bool)
}

// Identities hands out certificates; it may block until one is signed, or until the context ends.
type Identities interface {
	// ServerConfig returns the TLS settings under which a pod of this identity accepts tunnels: TLS 1.3, ALPN h2, client certificate
	// required and verified against the mesh's roots. The caller reads the proven identity with PeerIdentity.
	ServerConfig(ctx context.Context, identity string) (*tls.Config, error)
	// ClientConfig returns the TLS settings for a tunnel from this identity to a peer that must prove one of the accepted ones.
	ClientConfig(ctx context.Context, identity string, accepted []string) (*tls.Config, error)
	// PeerIdentity returns the one SPIFFE identity of a verified peer, without spiffe://; an error when its certificate has ended since.
	PeerIdentity(state tls.ConnectionState) (string, error)
	// Keep announces which identities are in use on this node: they are signed ahead and renewed, others are forgotten.
	Keep(identities []string)
}

// Side returns the labels of one side only: those whose names start with the prefix, source_ or destination_.
func (l Labels) Side(prefix string) Labels {
	out := make(Labels, len(l))
	for name, value := range l {
		if strings.HasPrefix(name, prefix) {
			out[name] = value
		}
	}
	return out
}

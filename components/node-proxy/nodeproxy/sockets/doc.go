// Package sockets makes sockets inside the network namespace of a pod: listeners that istio-cni's rules redirect to, and
// connections that leave the pod as its own. A socket keeps the namespace that it was created in, so a thread of this process
// enters a pod's namespace for the system call socket and for nothing else.
package sockets

// Ports that the redirection rules of istio-cni name.
const (
	OutboundPort  = 15001
	PlaintextPort = 15006
	TunnelPort    = 15008
	DNSPort       = 15053
)

// Mark is what istio-cni's rules know the proxy's own packets by. A socket without it is redirected to the proxy again, for ever.
const Mark = 0x539

// OwnPort tells whether the proxy itself listens on the port in each pod.
func OwnPort(port uint16) bool {
	switch port {
	case OutboundPort, PlaintextPort, TunnelPort, DNSPort:
		return true
	}
	return false
}

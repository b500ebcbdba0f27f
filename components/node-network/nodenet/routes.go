package nodenet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
)

// routeProtocol marks the agent's routes in the kernel (`ip route` shows
// "proto 98"), so that it removes its own stale ones and no others.
const routeProtocol netlink.RouteProtocol = 98

// podCIDR is a node's IPv4 pod range.
func podCIDR(node *corev1.Node) (netip.Prefix, error) {
	for _, text := range append([]string{node.Spec.PodCIDR}, node.Spec.PodCIDRs...) {
		if prefix, err := netip.ParsePrefix(text); err == nil && prefix.Addr().Is4() {
			return prefix.Masked(), nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("node %s: spec.podCIDR is %q: want an IPv4 range, as the controller manager assigns with --allocate-node-cidrs",
		node.Name, node.Spec.PodCIDR)
}

func internalIP(node *corev1.Node) (netip.Addr, bool) {
	for _, address := range node.Status.Addresses {
		if address.Type != corev1.NodeInternalIP {
			continue
		}
		if parsed, err := netip.ParseAddr(address.Address); err == nil && parsed.Is4() {
			return parsed, true
		}
	}
	return netip.Addr{}, false
}

// nodeAddresses lists all IPv4 addresses of all nodes.
func nodeAddresses(nodes []*corev1.Node) []netip.Addr {
	var found []netip.Addr
	for _, node := range nodes {
		for _, address := range node.Status.Addresses {
			if parsed, err := netip.ParseAddr(address.Address); err == nil && parsed.Is4() {
				found = append(found, parsed)
			}
		}
	}
	return found
}

// DesiredRoutes maps the pod range of every other node to its address. A node
// that has no range or address yet is left out.
func DesiredRoutes(self string, nodes []*corev1.Node) map[netip.Prefix]netip.Addr {
	routes := map[netip.Prefix]netip.Addr{}
	for _, node := range nodes {
		if node.Name == self {
			continue
		}
		prefix, err := podCIDR(node)
		if err != nil {
			continue
		}
		if gateway, ok := internalIP(node); ok {
			routes[prefix] = gateway
		}
	}
	return routes
}

// syncRoutes makes the agent's routes in the main table equal to desired.
func syncRoutes(desired map[netip.Prefix]netip.Addr) error {
	filter := &netlink.Route{Protocol: routeProtocol}
	present, err := netlink.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	var errs []error
	correct := map[netip.Prefix]bool{}
	for i := range present {
		route := &present[i]
		if prefix, gateway, ok := routeEnds(route); ok && desired[prefix] == gateway {
			correct[prefix] = true
			continue
		}
		klog.InfoS("Removing a stale route", "route", route.String())
		if err := netlink.RouteDel(route); err != nil {
			errs = append(errs, fmt.Errorf("delete route %s: %w", route, err))
		}
	}
	for prefix, gateway := range desired {
		if correct[prefix] {
			continue
		}
		klog.InfoS("Setting a route", "podCIDR", prefix, "via", gateway)
		route := &netlink.Route{
			Dst:      &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), 32)},
			Gw:       gateway.AsSlice(),
			Protocol: routeProtocol,
		}
		if err := netlink.RouteReplace(route); err != nil {
			errs = append(errs, fmt.Errorf("set route %s via %s: %w", prefix, gateway, err))
		}
	}
	return errors.Join(errs...)
}

func routeEnds(route *netlink.Route) (netip.Prefix, netip.Addr, bool) {
	if route.Dst == nil {
		return netip.Prefix{}, netip.Addr{}, false
	}
	bits, _ := route.Dst.Mask.Size()
	address, ok := netip.AddrFromSlice(route.Dst.IP)
	gateway, alsoOK := netip.AddrFromSlice(route.Gw)
	return netip.PrefixFrom(address.Unmap(), bits), gateway.Unmap(), ok && alsoOK
}

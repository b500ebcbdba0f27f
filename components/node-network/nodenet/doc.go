// Package nodenet is the node-network agent of the platform: it writes the
// node's CNI configuration, routes to the other nodes, masquerades what leaves
// the cluster, and enforces networking.k8s.io/v1 NetworkPolicy by nftables.
//
// Evaluate is a pure function from a Snapshot of Kubernetes objects to a
// Ruleset; everything that touches the kernel, the API server or a file is
// around it. README.md beside this file states the guarantees.
package nodenet

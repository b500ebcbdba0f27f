// Package truthtable proves the node-network agent against the kernel: its
// tests build two nodes, pods and an outside out of network namespaces, run a
// real agent per node, and compare every connection with an oracle that reads
// the policies by itself. Run as root: go test ./nodenet/truthtable/ -v
package truthtable

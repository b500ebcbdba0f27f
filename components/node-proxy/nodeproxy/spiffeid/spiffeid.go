// Package spiffeid reads and writes the identities of workloads: spiffe://<trust domain>/ns/<namespace>/sa/<service account>.
package spiffeid

import (
	"fmt"
	"strings"
)

// Prefix starts each identity where it is written as a URI.
const Prefix = "spiffe://"

// ID is the identity of a workload.
type ID struct {
	TrustDomain    string
	Namespace      string
	ServiceAccount string
}

// Parse reads an identity, with or without the prefix. Each of its three parts must be there, and nothing else.
func Parse(text string) (ID, error) {
	parts := strings.Split(strings.TrimPrefix(text, Prefix), "/")
	if len(parts) != 5 || parts[1] != "ns" || parts[3] != "sa" {
		return ID{}, fmt.Errorf("identity %q is not <trust domain>/ns/<namespace>/sa/<service account>", text)
	}
	for _, part := range []string{parts[0], parts[2], parts[4]} {
		if part == "" || strings.ContainsAny(part, "%?#@: \t\r\n*") {
			return ID{}, fmt.Errorf("identity %q has an empty part or one with a character that a name cannot have", text)
		}
	}
	return ID{TrustDomain: parts[0], Namespace: parts[2], ServiceAccount: parts[4]}, nil
}

// String writes the identity as policies name it: without the prefix.
func (id ID) String() string {
	return id.TrustDomain + "/ns/" + id.Namespace + "/sa/" + id.ServiceAccount
}

// URI writes the identity as certificates name it.
func (id ID) URI() string { return Prefix + id.String() }

//go:build tools

// Package kind pins the kind command line program.
package kind

import _ "sigs.k8s.io/kind"

package main

import (
	"context"
	"errors"
	"log/slog"

	"bookstore.platform/istio/nodeproxy/cni"
	"bookstore.platform/istio/nodeproxy/mesh"
)

// plane is the control plane, as the data plane uses it.
type plane struct {
	control    mesh.Control
	identities mesh.Identities
	// run works until the context ends; it returns an error only when going on makes no sense.
	run func(ctx context.Context) error
	// dump makes what /config_dump shows as JSON; nil: there is nothing to show.
	dump func(pods map[string]cni.Served) any
}

// controlPlane joins discovery, policy and identity. They are written beside this program and are not joined yet: without them there
// is no configuration, and without configuration no traffic, so the program says so and ends.
func controlPlane(config, *slog.Logger) (*plane, error) {
	return nil, errors.New("this build has no control plane")
}

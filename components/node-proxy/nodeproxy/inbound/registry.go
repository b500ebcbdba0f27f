package inbound

import (
	"context"
	"errors"
	"sync"

	"bookstore.platform/istio/nodeproxy/mesh"
)

// Registry judges open inbound connections anew after each change of the mesh.
type Registry struct {
	control mesh.Control
	mutex   sync.Mutex
	open    map[*Admission]struct{}
}

// Admission is a connection that was let in, or is about to be.
type Admission struct {
	registry   *Registry
	pod        mesh.Pod
	connection mesh.Connection
	cancel     context.CancelCauseFunc
}

// NewRegistry makes a registry; Run keeps it working.
func NewRegistry(control mesh.Control) *Registry {
	return &Registry{control: control, open: map[*Admission]struct{}{}}
}

// Run judges anew until the context ends.
func (r *Registry) Run(ctx context.Context) {
	for {
		changed := r.control.Changed() // before judging: no change is missed
		for _, admission := range r.all() {
			admission.judge()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (r *Registry) all() []*Admission {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	all := make([]*Admission, 0, len(r.open))
	for admission := range r.open {
		all = append(all, admission)
	}
	return all
}

// Admit registers a connection and then judges it: a change between the two is not missed. The context ends when the connection is
// refused, now or later. Leave it when the connection has ended.
func (r *Registry) Admit(ctx context.Context, pod mesh.Pod, connection mesh.Connection) (context.Context, *Admission, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	admission := &Admission{registry: r, pod: pod, connection: connection, cancel: cancel}
	r.mutex.Lock()
	r.open[admission] = struct{}{}
	r.mutex.Unlock()
	if err := admission.judge(); err != nil {
		admission.Leave()
		return ctx, admission, err
	}
	return ctx, admission, nil
}

func (a *Admission) judge() error {
	decision := a.registry.control.Inbound(a.pod, a.connection)
	if decision.Allowed {
		return nil
	}
	reason := decision.Reason
	if reason == "" {
		reason = "refused"
	}
	err := errors.New("policy: " + reason)
	a.cancel(err)
	return err
}

// Leave forgets the connection.
func (a *Admission) Leave() {
	a.registry.mutex.Lock()
	delete(a.registry.open, a)
	a.registry.mutex.Unlock()
	a.cancel(context.Canceled)
}

// Size counts the connections.
func (r *Registry) Size() int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return len(r.open)
}

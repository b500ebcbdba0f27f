// Package serving holds what all listeners of one pod have in common: its connections, their number, and their end.
package serving

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bookstore.platform/istio/nodeproxy/copying"
	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/sockets"
	"bookstore.platform/istio/nodeproxy/telemetry"
)

// Reasons for an end that the proxy itself makes.
var (
	ErrDeleted = errors.New("the pod was deleted")
	ErrDrained = errors.New("the proxy was stopped")
	ErrFull    = errors.New("the pod has as many connections as it may")
)

// Limits bound what a pod can take of the proxy.
type Limits struct {
	Connections int           // open at once, of each pod
	Connect     time.Duration // until a connection is made, certificates included
	Await       time.Duration // until discovery knows the pod
	Copying     copying.Limits
}

// DefaultLimits are those of production.
var DefaultLimits = Limits{Connections: 16384, Connect: 10 * time.Second, Await: 5 * time.Second, Copying: copying.DefaultLimits}

// backlogTime is how long a listener that is being closed takes what waits already: with it the kernel would reset those.
const backlogTime = 20 * time.Millisecond

// acceptPause lets descriptors become free after an accept that failed for their lack.
const acceptPause = 50 * time.Millisecond

// Pod is a pod while it is served.
type Pod struct {
	mesh.Pod
	Namespace  *sockets.Namespace
	Control    mesh.Control
	Identities mesh.Identities
	Reporter   *telemetry.Reporter
	Log        *slog.Logger
	Limits     Limits

	// Key is unique for each time that a pod is served: what belongs to a former one is not taken for this one's.
	Key string

	ctx    context.Context
	cancel context.CancelCauseFunc
	slots  chan struct{}
	group  sync.WaitGroup
}

var served atomic.Uint64

// Begin makes the pod ready for connections.
func (p *Pod) Begin() {
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	p.slots = make(chan struct{}, p.Limits.Connections)
	p.Key = fmt.Sprintf("%s/%d", p.UID, served.Add(1))
}

// Context ends with the pod.
func (p *Pod) Context() context.Context { return p.ctx }

// Go runs something that Drain waits for.
func (p *Pod) Go(do func()) { p.group.Go(do) }

// Accept hands each connection to handle, on a goroutine of its own, until the listener is closed.
func (p *Pod) Accept(listener *net.TCPListener, handle func(context.Context, *net.TCPConn)) {
	for {
		connection, err := listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				p.Log.Error("closing a listener", "error", err)
			}
			return
		}
		if err != nil {
			p.Log.Error("accepting failed", "pod", p.Pod.Namespace+"/"+p.Name, "error", err)
			select {
			case <-p.ctx.Done():
				return
			case <-time.After(acceptPause):
			}
			continue
		}
		release, err := p.Enter()
		if err != nil {
			p.Log.Warn("connection refused", "pod", p.Pod.Namespace+"/"+p.Name, "error", err)
			Reset(connection)
			continue
		}
		p.group.Go(func() {
			defer release()
			handle(p.ctx, connection)
		})
	}
}

// Enter takes one of the pod's connections.
func (p *Pod) Enter() (release func(), err error) {
	select {
	case p.slots <- struct{}{}:
		return func() { <-p.slots }, nil
	default:
		return nil, ErrFull
	}
}

// CloseSoon lets Accept take what waits, and then closes the listener.
func CloseSoon(listener *net.TCPListener) error {
	return listener.SetDeadline(time.Now().Add(backlogTime))
}

// Await waits until the control plane has its state and knows the pod, and returns the pod's identity.
func (p *Pod) Await(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Limits.Await)
	defer cancel()
	for {
		changed := p.Control.Changed() // before the question: no change is missed
		var err error
		if p.Control.Ready() {
			var identity string
			if identity, err = p.Control.Identity(p.Pod); err == nil {
				return identity, nil
			}
		} else {
			err = errors.New("the configuration of the mesh has not arrived")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("waited for discovery: %w", err)
		}
	}
}

// Copy moves bytes until the end of the connection or of the context.
func (p *Pod) Copy(ctx context.Context, record telemetry.Record, source, destination copying.End) {
	connection := copying.New(source, destination, p.Limits.Copying)
	open := p.Reporter.Opened(record)
	stop := context.AfterFunc(ctx, func() { connection.Cut(context.Cause(ctx)) })
	err := connection.Run()
	stop()
	open.Closed(connection.Sent(), connection.Received(), err)
}

// Stop ends all connections at once.
func (p *Pod) Stop(why error) {
	p.cancel(why)
	p.group.Wait()
}

// Drain waits for the connections, those of tunnels too, until the context ends, and then ends them. Listeners were closed before.
func (p *Pod) Drain(ctx context.Context, tunnels <-chan struct{}) {
	stop := context.AfterFunc(ctx, func() { p.cancel(ErrDrained) })
	defer stop()
	<-tunnels
	p.group.Wait()
	p.cancel(ErrDrained)
}

// Reset closes a connection that is refused; its peer sees an error.
func Reset(connection *net.TCPConn) { copying.TCP{TCPConn: connection}.Abort() }

// Labels joins those of a connection's sides.
func (p *Pod) Labels(source netip.Addr, destination mesh.Labels) mesh.Labels {
	labels := Side(p.Control.Describe(source), "source_")
	maps.Copy(labels, destination)
	return labels
}

// Side keeps the labels of one side of a connection.
func Side(all mesh.Labels, prefix string) mesh.Labels {
	labels := mesh.Labels{}
	for name, value := range all {
		if strings.HasPrefix(name, prefix) {
			labels[name] = value
		}
	}
	return labels
}

// Cancel ends all connections without waiting for them.
func (p *Pod) Cancel(why error) { p.cancel(why) }

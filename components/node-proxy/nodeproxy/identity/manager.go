// Package identity holds the certificates of the node's workloads: one for each identity, signed by istiod's CA on behalf of the workload,
// renewed before its end, and the TLS settings of tunnels made of them (mesh.Identities).
package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"bookstore.platform/istio/nodeproxy/istiod"
	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/spiffeid"
)

// Config says where certificates come from. Zero durations stand for the defaults in brackets.
type Config struct {
	Istiod istiod.Config
	// TrustDomains are those whose peers may come in, beside the trust domain of the pod itself.
	TrustDomains []string
	// Lifetime is asked for (24 h); istiod may give less.
	Lifetime time.Duration
	// Forget is how long a certificate that is not in use is kept (5 min).
	Forget time.Duration
	// Poll bounds how long a change of the clock or of the root file goes unnoticed (5 s).
	Poll time.Duration
	Log  *slog.Logger
	// Now is the clock (time.Now). Its monotonic part is not used: that stands still while the machine sleeps.
	Now func() time.Time
}

// The order in which certificates are asked for.
type priority int

const (
	idle priority = iota
	renewal
	warmUp
	interactive
)

const (
	callTimeout   = 10 * time.Second
	firstPause    = 50 * time.Millisecond
	lastPause     = 5 * time.Second
	lastPauseHeld = time.Minute
	workers       = 4
)

// Manager implements mesh.Identities.
type Manager struct {
	config Config
	roots  atomic.Pointer[roots]

	mutex    sync.Mutex
	entries  map[string]*entry
	wake     chan struct{}
	sequence uint64
	// The root certificates of the newest answer and of the file.
	answered, mounted []byte
}

var _ mesh.Identities = (*Manager)(nil)

// entry is an identity; the manager's lock guards it.
type entry struct {
	id       spiffeid.ID
	current  *certificate
	wanted   priority
	sequence uint64
	running  bool
	waiters  int
	failures int
	retry    time.Time
	failure  error
	// done is closed at the end of an attempt.
	done   chan struct{}
	used   bool
	unused time.Time
}

// New returns a manager; Run makes it work.
func New(config Config) *Manager {
	for value, otherwise := range map[*time.Duration]time.Duration{
		&config.Lifetime: 24 * time.Hour, &config.Forget: 5 * time.Minute, &config.Poll: 5 * time.Second,
	} {
		if *value == 0 {
			*value = otherwise
		}
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	m := &Manager{config: config, entries: map[string]*entry{}, wake: make(chan struct{})}
	m.roots.Store(&roots{})
	return m
}

func (m *Manager) now() time.Time { return m.config.Now().Round(0) }

// Run signs and renews until the context ends.
func (m *Manager) Run(ctx context.Context) {
	var group sync.WaitGroup
	// One worker is kept for connections that wait, so that renewals that hang do not hold them up.
	group.Go(func() { m.work(ctx, interactive) })
	for range workers - 1 {
		group.Go(func() { m.work(ctx, renewal) })
	}
	ticker := time.NewTicker(m.config.Poll)
	defer ticker.Stop()
	for {
		m.readRoots()
		m.forget()
		select {
		case <-ctx.Done():
			group.Wait()
			return
		case <-ticker.C:
		}
	}
}

// Keep implements mesh.Identities.
func (m *Manager) Keep(identities []string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	inUse := map[string]bool{}
	for _, text := range identities {
		id, err := spiffeid.Parse(text)
		if err != nil {
			m.config.Log.Error("an identity in use is not understood", "error", err)
			continue
		}
		inUse[id.URI()] = true
		m.entry(id).used = true
	}
	for uri, e := range m.entries {
		if !inUse[uri] && e.used {
			e.used, e.unused = false, m.now()
		}
	}
	m.signal()
}

// entry returns the entry of an identity; the caller holds the lock.
func (m *Manager) entry(id spiffeid.ID) *entry {
	e := m.entries[id.URI()]
	if e == nil {
		e = &entry{id: id, done: make(chan struct{}), unused: m.now()}
		m.entries[id.URI()] = e
	}
	return e
}

// signal wakes the workers; the caller holds the lock.
func (m *Manager) signal() {
	close(m.wake)
	m.wake = make(chan struct{})
}

// forget drops identities that have not been in use for a while.
func (m *Manager) forget() {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for uri, e := range m.entries {
		if !e.used && !e.running && e.waiters == 0 && m.now().Sub(e.unused) >= m.config.Forget {
			delete(m.entries, uri)
		}
	}
}

// get returns a certificate that is valid now; it waits for one until the context ends.
func (m *Manager) get(ctx context.Context, id spiffeid.ID) (*certificate, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for {
		e := m.entry(id)
		if now := m.now(); e.current.validAt(now) {
			return e.current, nil
		} else if !e.used {
			e.unused = now
		}
		if e.waiters == 0 && !e.running {
			e.retry = earlier(e.retry, time.Now().Add(lastPause))
		}
		if e.wanted < interactive {
			e.wanted = interactive
			m.sequence++
			e.sequence = m.sequence
		}
		e.waiters++
		m.signal()
		done := e.done
		m.mutex.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
		}
		m.mutex.Lock()
		e.waiters--
		if e.current.validAt(m.now()) {
			return e.current, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("no certificate for %s: %w", id, errors.Join(err, e.failure))
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// next returns the most urgent identity of at least this priority, marked as running; or how long to wait, unless woken, for one.
func (m *Manager) next(least priority) (*entry, time.Duration, <-chan struct{}) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var best *entry
	pause := m.config.Poll
	now := m.now()
	for _, e := range m.entries {
		if e.running {
			continue
		}
		m.want(e, now)
		if e.wanted < least || e.wanted == idle {
			if e.current != nil && e.used {
				pause = min(pause, max(time.Millisecond, e.current.renew.Sub(now)))
			}
			continue
		}
		if wait := time.Until(e.retry); wait > 0 {
			pause = min(pause, wait)
			continue
		}
		if best == nil || e.wanted > best.wanted || e.wanted == best.wanted && e.sequence < best.sequence {
			best = e
		}
	}
	if best != nil {
		best.running = true
	}
	return best, pause, m.wake
}

// want raises what an identity in use needs by itself; the caller holds the lock.
func (m *Manager) want(e *entry, now time.Time) {
	needs := idle
	switch {
	case !e.used:
	case !e.current.validAt(now):
		needs = warmUp
	case !now.Before(e.current.renew):
		needs = renewal
	}
	if e.wanted < needs {
		e.wanted = needs
		m.sequence++
		e.sequence = m.sequence
	}
}

// work asks for certificates, one at a time, over a connection that it keeps while there is more to do.
func (m *Manager) work(ctx context.Context, least priority) {
	var connection *grpc.ClientConn
	hangUp := func() {
		if connection != nil {
			_ = connection.Close() // nothing is in flight on it
			connection = nil
		}
	}
	defer hangUp()
	for ctx.Err() == nil {
		e, pause, wake := m.next(least)
		if e == nil {
			hangUp()
			select {
			case <-ctx.Done():
			case <-wake:
			case <-time.After(pause):
			}
			continue
		}
		var got *certificate
		var err error
		if connection == nil {
			connection, err = istiod.Dial(m.config.Istiod)
		}
		if err == nil {
			got, err = m.sign(ctx, connection, e.id)
		}
		if err != nil {
			hangUp() // the next attempt reads the root certificates of istiod anew
		}
		m.finish(e, got, err)
	}
}

// finish notes the end of an attempt.
func (m *Manager) finish(e *entry, got *certificate, err error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	e.running, e.failure = false, err
	held := e.current.validAt(m.now())
	if err == nil {
		e.current, e.failures, e.retry, e.wanted = got, 0, time.Time{}, idle
		m.config.Log.Info("certificate signed", "identity", e.id.String(), "until", got.leaf.NotAfter, "renewal", got.renew)
	} else {
		ceiling := lastPause
		if held {
			ceiling = lastPauseHeld // the valid one is kept
		}
		pause := min(firstPause<<min(e.failures, 12), ceiling)
		e.failures++
		e.retry = time.Now().Add(pause/2 + rand.N(pause/2+1))
		e.wanted = idle
		if e.waiters > 0 {
			e.wanted = interactive
		}
		m.config.Log.Warn("certificate not signed", "identity", e.id.String(), "error", err, "attempt", e.failures, "held", held)
	}
	close(e.done)
	e.done = make(chan struct{})
	m.signal()
}

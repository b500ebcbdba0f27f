package cni

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/sockets"
)

// Instance is what runs for one pod.
type Instance interface {
	// Stop ends everything of the pod at once.
	Stop()
	// Drain stops accepting; what is open goes on until the context ends.
	Drain(ctx context.Context)
}

// Start makes the proxy of a pod: it returns when all of its listeners are there, without asking anybody. It owns the namespace.
type Start func(pod mesh.Pod, namespace *sockets.Namespace) (Instance, error)

const firstRetryOfPod = 100 * time.Millisecond

// Manager holds the pods that istio-cni has announced.
type Manager struct {
	start  Start
	keep   func(pods []mesh.Pod)
	log    *slog.Logger
	mutex  sync.Mutex
	pods   map[string]*entry
	synced bool            // the snapshot of the present connection is complete
	seen   map[string]bool // uids of the snapshot that is being received
	ended  bool
}

type entry struct {
	pod       mesh.Pod
	namespace *sockets.Namespace // of this entry; the instance has a duplicate
	instance  Instance           // nil while it could not be started
	retry     *time.Timer
	pause     time.Duration
}

// NewManager makes a manager; keep is told, if not nil, which pods there are after each change.
func NewManager(start Start, keep func([]mesh.Pod), log *slog.Logger) *Manager {
	return &Manager{start: start, keep: keep, log: log, pods: map[string]*entry{}}
}

// Connected begins a snapshot: pods that it does not name are stopped at its end.
func (m *Manager) Connected() {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.synced, m.seen = false, map[string]bool{}
}

// Disconnected leaves the pods running.
func (m *Manager) Disconnected() {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.synced, m.seen = false, nil
}

// Handle does one message.
func (m *Manager) Handle(message Message) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var err error
	uid := message.Pod.UID
	switch message.Kind {
	case Add:
		if m.seen != nil {
			m.seen[uid] = true
		}
		err = m.add(message.Pod, message.Namespace)
	case Keep:
		// A pod that is not known is not an error: there is nothing to keep.
		if m.seen != nil {
			m.seen[uid] = true
		}
	case Delete:
		if m.seen != nil {
			delete(m.seen, uid)
		}
		m.remove(uid)
	case Snapshot:
		for known := range m.pods {
			if m.seen != nil && !m.seen[known] {
				m.remove(known)
			}
		}
		m.synced, m.seen = true, nil
	}
	m.announce()
	return err
}

func (m *Manager) add(pod mesh.Pod, namespace *sockets.Namespace) error {
	if m.ended {
		return joinClose(sockets.ErrNamespaceClosed, namespace)
	}
	if old, known := m.pods[pod.UID]; known {
		if old.pod == pod && old.namespace.Same(namespace) {
			err := namespace.Close()
			if old.instance == nil {
				return m.begin(old)
			}
			return err
		}
		// The newest namespace is the pod's.
		m.remove(pod.UID)
	}
	added := &entry{pod: pod, namespace: namespace, pause: firstRetryOfPod}
	m.pods[pod.UID] = added
	return m.begin(added)
}

// begin starts a pod, and tries again later when that fails: istio-cni only logs a refused message of its snapshot.
func (m *Manager) begin(e *entry) error {
	if e.retry != nil {
		e.retry.Stop()
		e.retry = nil
	}
	fd, err := e.namespace.Duplicate()
	if err == nil {
		var own *sockets.Namespace
		if own, err = sockets.NewNamespace(fd); err == nil {
			if e.instance, err = m.start(e.pod, own); err != nil {
				e.instance = nil
				err = joinClose(err, own)
			}
		}
	}
	if err == nil {
		m.log.Info("pod is served", "pod", e.pod.Name, "namespace", e.pod.Namespace, "uid", e.pod.UID)
		return nil
	}
	m.log.Error("pod is not served yet", "pod", e.pod.Name, "namespace", e.pod.Namespace, "uid", e.pod.UID, "error", err, "retry", e.pause)
	e.retry = time.AfterFunc(e.pause, func() {
		m.mutex.Lock()
		defer m.mutex.Unlock()
		if m.pods[e.pod.UID] == e && e.instance == nil {
			_ = m.begin(e) // logged there, and tried again
		}
	})
	e.pause = min(2*e.pause, longestRetry)
	return err
}

func (m *Manager) remove(uid string) {
	e, known := m.pods[uid]
	if !known {
		return
	}
	delete(m.pods, uid)
	if e.retry != nil {
		e.retry.Stop()
	}
	if e.instance != nil {
		e.instance.Stop()
	}
	if err := e.namespace.Close(); err != nil {
		m.log.Error("closing the network namespace of a pod", "uid", uid, "error", err)
	}
	m.log.Info("pod is no longer served", "pod", e.pod.Name, "namespace", e.pod.Namespace, "uid", uid)
}

func (m *Manager) announce() {
	if m.keep == nil {
		return
	}
	pods := make([]mesh.Pod, 0, len(m.pods))
	for _, e := range m.pods {
		pods = append(pods, e.pod)
	}
	slices.SortFunc(pods, func(a, b mesh.Pod) int {
		if a.UID < b.UID {
			return -1
		}
		return 1
	})
	m.keep(pods)
}

// Pending says what keeps the proxy from being ready; empty when all pods that istio-cni knows are served.
func (m *Manager) Pending() []string {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var pending []string
	if !m.synced {
		pending = append(pending, "the pods of istio-cni")
	}
	for _, e := range m.pods {
		if e.instance == nil {
			pending = append(pending, "pod "+e.pod.Namespace+"/"+e.pod.Name)
		}
	}
	slices.Sort(pending)
	return pending
}

// Served is a pod as the dump of the configuration shows it.
type Served struct {
	Pod     mesh.Pod
	Running bool // false while it could not be started
}

// Pods returns the pods that istio-cni has announced, by uid.
func (m *Manager) Pods() map[string]Served {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	pods := make(map[string]Served, len(m.pods))
	for uid, e := range m.pods {
		pods[uid] = Served{Pod: e.pod, Running: e.instance != nil}
	}
	return pods
}

// Drain stops accepting in all pods and waits for what is open, until the context ends; then everything is stopped.
func (m *Manager) Drain(ctx context.Context) {
	m.mutex.Lock()
	m.ended = true
	var group sync.WaitGroup
	for _, e := range m.pods {
		if e.retry != nil {
			e.retry.Stop()
		}
		if e.instance != nil {
			group.Go(func() { e.instance.Drain(ctx) })
		}
	}
	m.mutex.Unlock()
	group.Wait()
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for uid := range m.pods {
		m.remove(uid)
	}
}

func joinClose(err error, namespace *sockets.Namespace) error {
	if closing := namespace.Close(); closing != nil {
		return closing
	}
	return err
}

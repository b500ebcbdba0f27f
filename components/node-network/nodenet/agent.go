package nodenet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"sigs.k8s.io/knftables"
)

// registrationsDir is the folder of the registry below the run folder.
const registrationsDir = "sandboxes"

const (
	kernelDeadline = 30 * time.Second
	firstRetry     = time.Second
	longestRetry   = 30 * time.Second
)

// Config is what an Agent needs to know.
type Config struct {
	NodeName    string
	ClusterCIDR netip.Prefix // of all pods, IPv4
	ServiceCIDR netip.Prefix // of Services, IPv4; not valid: what is not translated is not refused
	ClosedPorts []uint16     // node ports that pods may not reach
	ClosedAddrs []netip.Addr // addresses beside the nodes that pods may not reach
	CNIDir      string       // CNI configurations of the node
	RunDir      string       // on tmpfs, the same path on the node and in the agent's container
	Client      kubernetes.Interface
	AddTimeout  time.Duration // how long a starting pod may wait for its policies
	Resync      time.Duration // how often kernel and files are compared with what was applied
	// EnterNetwork, if set, runs first on the thread that does all kernel
	// work: tests move it into a network namespace.
	EnterNetwork func() error
}

// Agent is the node-network agent of one node.
type Agent struct {
	config    Config
	registry  *Registry
	factory   informers.SharedInformerFactory
	listers   listers
	wake      chan struct{}
	mutex     sync.Mutex
	status    Status
	current   *Snapshot     // what the kernel enforces; nil before the first apply
	published chan struct{} // closed and replaced whenever current changes
}

// New prepares an agent; nothing happens before Run.
func New(config Config) (*Agent, error) {
	registry, err := OpenRegistry(filepath.Join(config.RunDir, registrationsDir))
	if err != nil {
		return nil, err
	}
	a := &Agent{
		config: config, registry: registry,
		wake: make(chan struct{}, 1), published: make(chan struct{}),
	}
	// Managed fields are the larger part of most objects and of no use here.
	strip := informers.WithTransform(func(object any) (any, error) {
		if accessor, err := meta.Accessor(object); err == nil {
			accessor.SetManagedFields(nil)
		}
		return object, nil
	})
	a.factory = informers.NewSharedInformerFactoryWithOptions(config.Client, 0, strip)
	a.listers, err = newListers(a.factory, cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { a.Wake() },
		UpdateFunc: func(any, any) { a.Wake() },
		DeleteFunc: func(any) { a.Wake() },
	})
	return a, err
}

// Wake makes the agent evaluate again. Calls during an evaluation add up to one.
func (a *Agent) Wake() {
	select {
	case a.wake <- struct{}{}:
	default: // one is pending already, and it will see the newest state
	}
}

// Run works until ctx ends. It takes nothing down at its end: rules, routes
// and the CNI configuration stay for the time without an agent.
func (a *Agent) Run(ctx context.Context) error {
	lock, err := lockRunDir(a.config.RunDir)
	if err != nil {
		return err
	}
	defer func() {
		if err := lock.Close(); err != nil {
			klog.ErrorS(err, "Closing the lock failed")
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	finished := make(chan error, 2)
	server, err := a.listen()
	if err != nil {
		return err
	}
	go func() { finished <- server.serve(ctx) }()
	a.factory.Start(ctx.Done())
	go func() { finished <- a.work(ctx) }()
	err = <-finished
	cancel()
	return errors.Join(err, <-finished)
}

// lockRunDir keeps two agents of one node from undoing each other's rules.
func lockRunDir(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w: another agent runs on this node", lock.Name(), err), lock.Close())
	}
	return lock, nil
}

// work is the one goroutine that touches the kernel.
func (a *Agent) work(ctx context.Context) error {
	if a.config.EnterNetwork != nil {
		// Never unlocked: the thread must end with the goroutine.
		runtime.LockOSThread()
		if err := a.config.EnterNetwork(); err != nil {
			return err
		}
	}
	nft, err := knftables.New(knftables.InetFamily, Table)
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	k := &kernel{nft: nft}
	for kind, synced := range a.factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("stopped before %s could be listed", kind)
		}
	}
	klog.InfoS("Objects are listed", "node", a.config.NodeName)
	ticker := time.NewTicker(a.config.Resync)
	defer ticker.Stop()
	delay := firstRetry
	retry := time.NewTimer(0)
	defer retry.Stop()
	var routes map[netip.Prefix]netip.Addr
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		case <-retry.C:
			routes = nil
		case <-ticker.C:
			routes = nil
			if err := k.verify(ctx); err != nil {
				klog.ErrorS(err, "The kernel does not hold what was applied: replacing it")
			}
		}
		if routes, err = a.step(ctx, k, routes); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			klog.ErrorS(err, "Applying failed", "retryIn", delay)
			retry.Reset(delay)
			delay = min(2*delay, longestRetry)
			continue
		}
		delay = firstRetry
	}
}

// step brings kernel and files to the state that the objects ask for. routes
// are those set by the step before, nil to compare with the kernel; the result
// is to be handed to the next step.
func (a *Agent) step(ctx context.Context, k *kernel, routes map[netip.Prefix]netip.Addr) (map[netip.Prefix]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, kernelDeadline)
	defer cancel()
	desired, err := a.applyRules(ctx, k)
	if err == nil && (routes == nil || !maps.Equal(routes, desired)) {
		err = syncRoutes(desired)
	}
	if err != nil {
		a.note(func(s *Status) { s.Error = err.Error() })
		return nil, err
	}
	a.note(func(s *Status) { s.Error = ""; s.Routes = len(desired) })
	return desired, nil
}

// applyRules enforces the policies, then lets pods start by the CNI
// configuration, and returns the routes that the nodes ask for.
func (a *Agent) applyRules(ctx context.Context, k *kernel) (map[netip.Prefix]netip.Addr, error) {
	node, err := a.listers.nodes.Get(a.config.NodeName)
	if err != nil {
		return nil, fmt.Errorf("node %q (--node-name): %w", a.config.NodeName, err)
	}
	local, err := podCIDR(node)
	if err != nil {
		return nil, err
	}
	nodes, err := a.listers.nodes.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	objects, err := a.listers.objects()
	if err != nil {
		return nil, err
	}
	snapshot := TakeSnapshot(a.config.NodeName, local, a.config.ClusterCIDR, objects, a.registry.List())
	snapshot.ClosedAddresses = a.config.ClosedAddrs
	snapshot.ServiceCIDR, snapshot.ClosedPorts, snapshot.NodeAddresses = a.config.ServiceCIDR, a.config.ClosedPorts, nodeAddresses(nodes)
	ruleset, err := Evaluate(snapshot)
	if err != nil {
		klog.ErrorS(err, "Some selectors do not parse and are treated strictly")
	}
	begin := time.Now()
	steps, err := k.apply(ctx, ruleset)
	if err != nil {
		return nil, err
	}
	if steps > 0 {
		klog.V(2).InfoS("Rules applied", "steps", steps, "took", time.Since(begin))
	}
	a.publish(&snapshot, steps, time.Since(begin))
	if err := ensureConflist(a.config.CNIDir, local, a.config.RunDir); err != nil {
		return nil, err
	}
	return DesiredRoutes(a.config.NodeName, nodes), nil
}

func (a *Agent) publish(snapshot *Snapshot, steps int, took time.Duration) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.current = snapshot
	a.status.observe(snapshot, steps, took)
	close(a.published)
	a.published = make(chan struct{})
}

// enforced returns what the kernel enforces (nil: nothing yet) and a channel
// that is closed when that changes.
func (a *Agent) enforced() (*Snapshot, <-chan struct{}) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return a.current, a.published
}

func (a *Agent) note(change func(*Status)) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	change(&a.status)
}

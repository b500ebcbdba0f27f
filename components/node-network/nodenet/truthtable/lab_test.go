package truthtable

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"bookstore.platform/kubernetes/nodenet"
)

var (
	namespaces = []string{"red-shop", "blue-shop", "data"}
	portList   = []int{80, 443, 5432}
	protocols  = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP}
)

func uid(parts ...string) types.UID { return types.UID(fmt.Sprint(parts)) }

// lab is two nodes with their pods and agents, and two hosts outside.
type lab struct {
	client *fake.Clientset
	spaces map[string]*space
	ends   map[string]end
	source map[string]*int // last source port used, per end
	nodes  map[string]*machine
	veths  int
	oracle oracle
	// settings, if set, changes an agent's configuration before its start.
	settings func(*nodenet.Config)
	// While it is locked, the agents hear of no policy.
	policyNews sync.RWMutex
}

// machine is one node.
type machine struct {
	name, dir string
	cidr      netip.Prefix
	agent     *nodenet.Agent
	kill      func() // stops the agent and waits until it is gone
}

// newLab skips the test where namespaces or nft are not to be had.
func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to create network namespaces: run `sudo go test ./nodenet/truthtable/`")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skipf("needs nft in PATH (Debian package nftables): %v", err)
	}
	l := &lab{
		client: fake.NewClientset(), spaces: map[string]*space{}, ends: map[string]end{},
		source: map[string]*int{}, nodes: map[string]*machine{},
		oracle: oracle{namespaces: map[string]map[string]string{}},
	}
	plug := switchboard(t)
	for i, name := range []string{"node-1", "node-2"} {
		address := netip.AddrFrom4([4]byte{172, 31, 0, byte(11 + i)})
		l.addEnd(t, end{name: name, address: address, node: name})
		plug(l.spaces[name], address.String()+"/24")
		forwardPackets(t, l.spaces[name])
		m := &machine{name: name, dir: t.TempDir(), cidr: netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", i+1))}
		l.nodes[name] = m
		l.create(t, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       corev1.NodeSpec{PodCIDR: m.cidr.String()},
			Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address.String()}}},
		})
	}
	for i, name := range []string{"outside-1", "outside-2"} {
		address := netip.AddrFrom4([4]byte{172, 31, 0, byte(100 + i)})
		l.addEnd(t, end{name: name, address: address})
		plug(l.spaces[name], address.String()+"/24")
		for node, m := range l.nodes {
			setRoute(t, l.spaces[name], "eth0", m.cidr.String(), l.ends[node].address.String())
		}
	}
	return l
}

func (l *lab) addEnd(t *testing.T, e end) {
	t.Helper()
	l.spaces[e.name] = newSpace(t)
	port := 10000
	l.ends[e.name], l.source[e.name] = e, &port
	serve(t, l.spaces[e.name], e.address, portList)
}

func (l *lab) create(t *testing.T, object runtime.Object) {
	t.Helper()
	if err := l.client.Tracker().Add(object); err != nil {
		t.Fatal(err)
	}
}

// setNamespace creates or relabels a namespace, for agents and oracle alike.
func (l *lab) setNamespace(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	_, known := l.oracle.namespaces[name]
	l.oracle.namespaces[name] = labels
	if !known {
		l.create(t, object)
	} else if _, err := l.client.CoreV1().Namespaces().Update(t.Context(), object, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// newPod creates a pod's API object and its network, but does not announce it
// to the agent. host is the last byte of its address.
func (l *lab) newPod(t *testing.T, node, namespace, name string, host byte, labels map[string]string, ports []corev1.ContainerPort) *corev1.Pod {
	t.Helper()
	first := l.nodes[node].cidr.Addr().As4()
	first[3] = host
	address := netip.AddrFrom4(first)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: uid(namespace, name), Labels: labels},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "main", Ports: ports}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: address.String()}}},
	}
	l.addEnd(t, end{name: name, address: address, node: node, pod: pod})
	first[3] = 1
	l.veths++
	plugPod(t, l.spaces[node], l.spaces[name], fmt.Sprint("veth", l.veths), address, netip.AddrFrom4(first))
	return pod
}

func (l *lab) registration(name string) nodenet.Registration {
	e := l.ends[name]
	return nodenet.Registration{ContainerID: "sandbox-" + name, Namespace: e.pod.Namespace, Name: e.pod.Name,
		UID: string(e.pod.UID), Addresses: []netip.Addr{e.address}}
}

func (l *lab) register(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	return nodenet.Register(ctx, l.socket(name), l.registration(name))
}

func (l *lab) socket(pod string) string {
	return filepath.Join(l.nodes[l.ends[pod].node].dir, nodenet.SocketName)
}

// start runs a node's agent and returns when its first rules are applied and
// its watches are open (the fake API server forgets what happens before).
func (l *lab) start(t *testing.T, node string) {
	t.Helper()
	m := l.nodes[node]
	watching := make(chan string, 16)
	l.client.PrependWatchReactor("*", func(action clienttesting.Action) (bool, watch.Interface, error) {
		w, err := l.client.Tracker().Watch(action.GetResource(), action.GetNamespace())
		if err == nil && action.GetResource().Resource == "networkpolicies" {
			w = watch.Filter(w, func(event watch.Event) (watch.Event, bool) {
				l.policyNews.RLock()
				defer l.policyNews.RUnlock()
				return event, true
			})
		}
		watching <- action.GetResource().Resource
		return true, w, err
	})
	var err error
	config := nodenet.Config{
		NodeName: node, ClusterCIDR: netip.MustParsePrefix("10.244.0.0/16"), CNIDir: m.dir, RunDir: m.dir,
		Client: l.client, AddTimeout: time.Second, Resync: time.Second,
		EnterNetwork: func() error { return netns.Set(l.spaces[node].handle) },
	}
	if l.settings != nil {
		l.settings(&config)
	}
	m.agent, err = nodenet.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.agent.Run(ctx) }()
	var once sync.Once
	m.kill = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("agent of %s: %v", node, err)
			}
		})
	}
	t.Cleanup(m.kill)
	seen := map[string]bool{}
	for len(seen) < 4 {
		select {
		case resource := <-watching:
			seen[resource] = true
		case err := <-ended:
			ended <- nil
			t.Fatalf("agent of %s ended: %v", node, err)
		case <-time.After(10 * time.Second):
			t.Fatalf("agent of %s opened only the watches %v", node, seen)
		}
	}
	eventually(t, 10*time.Second, func() error {
		if s := m.agent.Status(); !s.Ready || s.Error != "" {
			return fmt.Errorf("agent of %s: %+v", node, s)
		}
		return nil
	})
}

// eventually tries until check succeeds; the pause grows and is bounded.
func eventually(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s still: %v", limit, err)
		}
		<-time.After(pause)
	}
}

// setPolicy creates or replaces a policy, removePolicy deletes it.
func (l *lab) setPolicy(t *testing.T, policy *networkingv1.NetworkPolicy) {
	t.Helper()
	kept := l.without(policy)
	replaced := len(kept) < len(l.oracle.policies)
	l.oracle.policies = append(kept, policy)
	policies := l.client.NetworkingV1().NetworkPolicies(policy.Namespace)
	var err error
	if replaced {
		_, err = policies.Update(t.Context(), policy, metav1.UpdateOptions{})
	} else {
		_, err = policies.Create(t.Context(), policy, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (l *lab) removePolicy(t *testing.T, policy *networkingv1.NetworkPolicy) {
	t.Helper()
	l.oracle.policies = l.without(policy)
	err := l.client.NetworkingV1().NetworkPolicies(policy.Namespace).Delete(t.Context(), policy.Name, metav1.DeleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func (l *lab) without(policy *networkingv1.NetworkPolicy) []*networkingv1.NetworkPolicy {
	var kept []*networkingv1.NetworkPolicy
	for _, each := range l.oracle.policies {
		if each.Namespace != policy.Namespace || each.Name != policy.Name {
			kept = append(kept, each)
		}
	}
	return kept
}

// relabel gives a pod other labels, for agents and oracle alike.
func (l *lab) relabel(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	e := l.ends[name]
	e.pod = e.pod.DeepCopy()
	e.pod.Labels = labels
	l.ends[name] = e
	if _, err := l.client.CoreV1().Pods(e.pod.Namespace).Update(t.Context(), e.pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// run probes cells, all namespaces at the same time.
func (l *lab) run(t *testing.T, cells []cell, hoped map[cell]bool) map[cell]bool {
	t.Helper()
	addresses := map[string]netip.Addr{}
	for name, e := range l.ends {
		addresses[name] = e.address
	}
	bySource := map[string][]cell{}
	for _, c := range cells {
		bySource[c.from] = append(bySource[c.from], c)
	}
	results := map[cell]bool{}
	var errs []error
	var mutex sync.Mutex
	var group sync.WaitGroup
	for from, list := range bySource {
		group.Add(1)
		l.spaces[from].jobs <- func() {
			defer group.Done()
			passed, err := probe(list, addresses, hoped, l.source[from])
			mutex.Lock()
			defer mutex.Unlock()
			errs = append(errs, err)
			for c, ok := range passed {
				results[c] = ok
			}
		}
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return results
}

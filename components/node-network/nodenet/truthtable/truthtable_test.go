package truthtable

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// settles is how long a change may take to reach the kernel of both nodes.
const settles = 5 * time.Second

// populate puts eight pods into three namespaces on two nodes, plus two
// objects that must not count: a host-network pod, and a finished pod that
// still shows an address which another pod has by now.
func populate(t *testing.T, l *lab, r source) {
	t.Helper()
	for _, name := range namespaces {
		l.setNamespace(t, name, r.namespaceLabels(name))
	}
	for i := range 8 {
		node, namespace := fmt.Sprint("node-", i%2+1), namespaces[i%3]
		// One name, other numbers: by pod, and by protocol within a pod.
		ports := []corev1.ContainerPort{
			{Name: "web", ContainerPort: 80, Protocol: corev1.ProtocolTCP}, {Name: "web", ContainerPort: 5432, Protocol: corev1.ProtocolUDP},
			{Name: "data", ContainerPort: 443, Protocol: corev1.ProtocolTCP}}
		if i%4 > 1 {
			ports = []corev1.ContainerPort{
				{Name: "web", ContainerPort: 443, Protocol: corev1.ProtocolTCP}, {Name: "data", ContainerPort: 5432, Protocol: corev1.ProtocolUDP}}
		}
		l.create(t, l.newPod(t, node, namespace, fmt.Sprintf("pod-%d", i), byte(10+i/2), r.podLabels(), ports))
	}
	for _, kind := range []string{"host", "finished"} {
		pod := l.ends["pod-1"].pod.DeepCopy()
		pod.Name, pod.UID = kind, uid(kind)
		if pod.Labels["app"] = "a"; kind == "host" {
			pod.Spec.HostNetwork = true
			pod.Status.PodIPs[0].IP = l.ends["node-2"].address.String()
		} else {
			pod.Status.Phase = corev1.PodSucceeded
		}
		l.create(t, pod)
	}
	for _, node := range []string{"node-1", "node-2"} {
		l.start(t, node)
	}
	for i := range 8 {
		if err := l.register(fmt.Sprintf("pod-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
}

// table lists the cells between all ends of which one is a pod.
func (l *lab) table() []cell {
	var cells []cell
	for _, from := range l.ends {
		for _, to := range l.ends {
			if from.name == to.name || (from.pod == nil && to.pod == nil) {
				continue
			}
			for _, port := range portList {
				for _, protocol := range protocols {
					cells = append(cells, cell{from.name, to.name, protocol, port})
				}
			}
		}
	}
	return cells
}

// expected asks the oracle for the whole table.
func (l *lab) expected() map[cell]verdict {
	answers := map[cell]verdict{}
	for _, c := range l.table() {
		answers[c] = l.oracle.judge(l.ends[c.from], l.ends[c.to], c.protocol, c.port)
	}
	return answers
}

// converge probes until the kernel agrees with want everywhere. Cells that are
// steady between before and want must be right in every single probe: a change
// never disturbs, nor opens for a moment, what it is not about.
func (l *lab) converge(t *testing.T, what string, before, want map[cell]verdict) (probes int) {
	t.Helper()
	var cells []cell
	hoped, firm := map[cell]bool{}, map[cell]bool{}
	for c, after := range want {
		cells = append(cells, c)
		was, known := before[c]
		firm[c] = known && steady(was, after, l.ends[c.from].node == l.ends[c.to].node)
		hoped[c] = firm[c] && after.passes()
	}
	for begin := time.Now(); ; {
		var wrong, disturbed []string
		for c, passed := range l.run(t, cells, hoped) {
			probes++
			if passed == want[c].passes() {
				continue
			}
			line := fmt.Sprintf("%s: oracle %+v, kernel %t", c, want[c], passed)
			wrong = append(wrong, line)
			if firm[c] {
				disturbed = append(disturbed, line)
			}
		}
		sort.Strings(wrong)
		if len(disturbed) > 0 {
			t.Fatalf("%s disturbed what it is not about:\n%s\n%s", what, strings.Join(disturbed, "\n"), l.describe())
		}
		if len(wrong) == 0 {
			return probes
		}
		if time.Since(begin) > settles {
			t.Fatalf("%s: after %s still\n%s\n%s", what, settles, strings.Join(wrong, "\n"), l.describe())
		}
	}
}

// describe prints what is needed to understand a disagreement.
func (l *lab) describe() string {
	var lines []string
	for name, e := range l.ends {
		if e.pod != nil {
			lines = append(lines, fmt.Sprintf("%s %s in %s %v", name, e.address, e.pod.Namespace, e.pod.Labels))
		}
	}
	sort.Strings(lines)
	for name, labels := range l.oracle.namespaces {
		lines = append(lines, fmt.Sprintf("namespace %s %v", name, labels))
	}
	for _, p := range l.oracle.policies {
		lines = append(lines, fmt.Sprintf("policy %s/%s %s", p.Namespace, p.Name, p.Spec.String()))
	}
	return strings.Join(lines, "\n")
}

func number(t *testing.T, variable string, standard uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return standard
	}
	value, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("%s=%q: want a number", variable, text)
	}
	return value
}

// TestTruthTable adds, replaces and removes random policies and labels while
// connections are tried, and compares kernel and oracle cell by cell.
// TRUTHTABLE_SEED and TRUTHTABLE_STEPS choose another walk.
func TestTruthTable(t *testing.T) {
	seed := number(t, "TRUTHTABLE_SEED", 3)
	steps := int(number(t, "TRUTHTABLE_STEPS", 50))
	r := source{rand.New(rand.NewPCG(seed, 0))}
	l := newLab(t)
	populate(t, l, r)
	before := l.expected()
	probes := l.converge(t, "no policies", nil, before)
	refused := 0
	for step := 1; step <= steps; step++ {
		what := fmt.Sprintf("seed %d, step %d: %s", seed, step, l.change(t, r, step))
		want := l.expected()
		probes += l.converge(t, what, before, want)
		for _, each := range want {
			if !each.passes() {
				refused++
			}
		}
		before = want
	}
	cells := len(before) * steps
	if refused < cells/10 || refused > cells*9/10 {
		t.Errorf("%d of %d cells were to be refused: the policies say too little", refused, cells)
	}
	t.Logf("truth table: seed %d, %d steps, %d cells each, %d connections tried, %.0f %% of the cells to be refused, 0 differences",
		seed, steps, len(before), probes, 100*float64(refused)/float64(cells))
}

// change makes one random change and says which.
func (l *lab) change(t *testing.T, r source, step int) string {
	t.Helper()
	switch choice := r.IntN(10); {
	case choice < 2:
		name := fmt.Sprintf("pod-%d", r.IntN(8))
		l.relabel(t, name, r.podLabels())
		return "labels of " + name
	case choice < 3:
		name := pick(r, namespaces)
		l.setNamespace(t, name, r.namespaceLabels(name))
		return "labels of namespace " + name
	case choice < 5 && len(l.oracle.policies) > 0:
		p := pick(r, l.oracle.policies)
		l.removePolicy(t, p)
		return "removed " + p.Namespace + "/" + p.Name
	default:
		p := r.policy(pick(r, namespaces), fmt.Sprint("p", r.IntN(3)), int64(step))
		l.setPolicy(t, p)
		return "set " + p.Namespace + "/" + p.Name
	}
}

// denyAll isolates every pod of a namespace in the given directions.
func denyAll(namespace string, kinds ...networkingv1.PolicyType) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "deny-all", UID: uid(namespace, "deny-all"), Generation: 1},
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: kinds},
	}
}

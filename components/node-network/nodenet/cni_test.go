package nodenet

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const previous = `, "prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "veth1"}, {"name": "eth0", "sandbox": "/proc/1/ns/net"}],
	"ips": [{"interface": 1, "address": "10.244.1.5/24", "gateway": "10.244.1.1"}]}`

func arguments(dir, result, args string) *skel.CmdArgs {
	return &skel.CmdArgs{ContainerID: "box", IfName: "eth0", Args: args, StdinData: fmt.Appendf(nil,
		`{"cniVersion": "1.0.0", "name": "bookstore", "type": "node-network-cni", "socket": %q%s}`, filepath.Join(dir, SocketName), result)}
}

const podArgs = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=u1;K8S_POD_INFRA_CONTAINER_ID=box"

// fakeAgent answers on the socket and records what it was told.
func fakeAgent(t *testing.T, dir string, status int) *[]string {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(dir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	calls := &[]string{}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var registration Registration
		if r.Method == http.MethodPut {
			if err := json.NewDecoder(r.Body).Decode(&registration); err != nil {
				t.Error(err)
			}
		}
		*calls = append(*calls, fmt.Sprintln(r.Method, r.URL.Path, registration.Namespace, registration.Name, registration.UID, registration.Addresses))
		if status != http.StatusNoContent {
			http.Error(w, "not today", status)
			return
		}
		w.WriteHeader(status)
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-ended
	})
	return calls
}

func TestPluginAdd(t *testing.T) {
	dir := t.TempDir()
	calls := fakeAgent(t, dir, http.StatusNoContent)
	output, err := os.Create(filepath.Join(dir, "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = output // where a plugin's result goes
	err = cniAdd(arguments(dir, previous, podArgs))
	os.Stdout = stdout
	if err = errors.Join(err, output.Close()); err != nil {
		t.Fatal(err)
	}
	printed, err := os.ReadFile(output.Name())
	if err != nil || !json.Valid(printed) || !strings.Contains(string(printed), "10.244.1.5/24") {
		t.Errorf("printed %q (error %v), want the previous plugin's result", printed, err)
	}
	if want := "PUT /sandboxes/box shop web u1 [10.244.1.5]\n"; len(*calls) != 1 || (*calls)[0] != want {
		t.Errorf("calls %q, want %q", *calls, want)
	}
}

func TestPluginAddFailures(t *testing.T) {
	for name, test := range map[string]struct{ result, args, want string }{
		"agent refuses": {previous, podArgs, "not today"},
		"not chained":   {"", podArgs, "prevResult"},
		"no pod":        {previous, "", "namespace, name and uid"},
		"no address":    {`, "prevResult": {"cniVersion": "1.0.0"}`, podArgs, "IPv4"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fakeAgent(t, dir, http.StatusServiceUnavailable)
			if err := cniAdd(arguments(dir, test.result, test.args)); err == nil || !strings.Contains(fmt.Sprintf("%+v", err), test.want) {
				t.Errorf("error %v, want it to speak of %q", err, test.want)
			}
		})
	}
	if err := cniAdd(arguments(t.TempDir(), previous, podArgs)); err == nil {
		t.Error("a pod started without an agent")
	}
}

func TestPluginDeleteWithoutAgent(t *testing.T) {
	dir := t.TempDir()
	registry, err := OpenRegistry(filepath.Join(dir, registrationsDir))
	if err != nil {
		t.Fatal(err)
	}
	config, err := parseConfig(arguments(dir, previous, podArgs).StdinData)
	if err != nil {
		t.Fatal(err)
	}
	r, err := registrationOf(arguments(dir, previous, podArgs), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := registry.Put(r); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := cniDelete(arguments(dir, "", podArgs)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, registrationsDir, "box.json")); !os.IsNotExist(err) {
		t.Errorf("the registration is still there (error %v)", err)
	}
	if err := cniCheck(nil); err != nil {
		t.Error(err)
	}
}

// TestRequirements: a snapshot admits a sandbox only if it has seen the
// namespace and every policy at least as new as the API server has them.
func TestRequirements(t *testing.T) {
	snapshot := func(namespace, version string) *Snapshot {
		return &Snapshot{
			Sandboxes:  map[string]bool{"box": true},
			Namespaces: map[string]Namespace{"shop": {ResourceVersion: namespace}},
			Policies:   []*networkingv1.NetworkPolicy{{ObjectMeta: metav1.ObjectMeta{UID: "p", ResourceVersion: version}}},
		}
	}
	wanted := requirements{namespace: "10", policies: map[types.UID]string{"p": "20"}}
	for name, test := range map[string]struct {
		snapshot *Snapshot
		box      string
		ok       bool
	}{
		"exact":            {snapshot("10", "20"), "box", true},
		"newer":            {snapshot("11", "100"), "box", true},
		"older policy":     {snapshot("10", "9"), "box", false},
		"older namespace":  {snapshot("9", "20"), "box", false},
		"unknown policy":   {&Snapshot{Sandboxes: map[string]bool{"box": true}, Namespaces: snapshot("10", "").Namespaces}, "box", false},
		"unknown sandbox":  {snapshot("10", "20"), "other", false},
		"namespace unseen": {&Snapshot{Sandboxes: map[string]bool{"box": true}, Policies: snapshot("", "20").Policies}, "box", false},
	} {
		t.Run(name, func(t *testing.T) {
			err := wanted.missing(test.snapshot, Registration{ContainerID: test.box, Namespace: "shop", Name: "web"})
			if (err == nil) != test.ok {
				t.Errorf("error %v, want none: %t", err, test.ok)
			}
		})
	}
}

package nodenet

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func conflistPlugins(t *testing.T, content []byte) (types []string) {
	t.Helper()
	var file struct {
		Plugins []struct{ Type string }
	}
	if err := json.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	for _, plugin := range file.Plugins {
		types = append(types, plugin.Type)
	}
	return types
}

func TestConflist(t *testing.T) {
	cidr := netip.MustParsePrefix("10.244.1.0/24")
	fresh, changed, err := Conflist(nil, cidr, "/run/x")
	if err != nil || !changed {
		t.Fatalf("changed %t, error %v", changed, err)
	}
	if got := strings.Join(conflistPlugins(t, fresh), " "); got != "ptp portmap node-network-cni" {
		t.Errorf("plugins: %s", got)
	}
	withMesh := bytes.Replace(fresh, []byte("\n  ]"), []byte(",\n{\"type\": \"istio-cni\", \"log_level\": \"info\"}\n  ]"), 1)
	if got := strings.Join(conflistPlugins(t, withMesh), " "); !strings.HasSuffix(got, "istio-cni") {
		t.Fatalf("fixture: %s", got)
	}
	for name, test := range map[string]struct {
		current []byte
		cidr    string
		changed bool
		plugins string
	}{
		"unchanged":                  {fresh, "10.244.1.0/24", false, "ptp portmap node-network-cni"},
		"with a foreign plugin":      {withMesh, "10.244.1.0/24", false, "ptp portmap node-network-cni istio-cni"},
		"another range keeps it":     {withMesh, "10.244.9.0/24", true, "ptp portmap node-network-cni istio-cni"},
		"not JSON":                   {[]byte("{"), "10.244.1.0/24", true, "ptp portmap node-network-cni"},
		"a plugin of ours is gone":   {bytes.Replace(withMesh, []byte(`"portmap"`), []byte(`"firewall"`), 1), "10.244.1.0/24", true, "ptp portmap node-network-cni firewall istio-cni"},
		"somebody changed the MTU":   {bytes.Replace(fresh, []byte("1500"), []byte("1400"), 1), "10.244.1.0/24", true, "ptp portmap node-network-cni"},
		"another network's conflist": {bytes.Replace(fresh, []byte(`"bookstore"`), []byte(`"x"`), 1), "10.244.1.0/24", true, "ptp portmap node-network-cni"},
	} {
		t.Run(name, func(t *testing.T) {
			content, changed, err := Conflist(test.current, netip.MustParsePrefix(test.cidr), "/run/x")
			if err != nil || changed != test.changed {
				t.Fatalf("changed %t, error %v", changed, err)
			}
			if got := strings.Join(conflistPlugins(t, content), " "); got != test.plugins {
				t.Errorf("plugins %q, want %q", got, test.plugins)
			}
			if again, changed, err := Conflist(content, netip.MustParsePrefix(test.cidr), "/run/x"); changed || err != nil || !bytes.Equal(again, content) {
				t.Errorf("a second pass changes it (error %v)", err)
			}
		})
	}
}

func TestEnsureConflistLeavesNothingHalfWritten(t *testing.T) {
	dir := t.TempDir()
	cidr := netip.MustParsePrefix("10.244.1.0/24")
	for range 2 {
		if err := ensureConflist(dir, cidr, "/run/x"); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != ConflistName {
		t.Errorf("files %v, error %v", files, err)
	}
	if err := ensureConflist(filepath.Join(dir, "absent"), cidr, "/run/x"); err == nil {
		t.Error("a missing folder is no error")
	}
}

func TestRegistry(t *testing.T) {
	dir := t.TempDir()
	open := func() *Registry {
		t.Helper()
		r, err := OpenRegistry(dir)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	item := func(id, address string) Registration {
		return Registration{ContainerID: id, Namespace: "n", Name: "p", UID: "u", Addresses: []netip.Addr{netip.MustParseAddr(address)}}
	}
	ids := func(r *Registry) (list string) {
		for _, each := range r.List() {
			list += each.ContainerID + "=" + each.Addresses[0].String() + " "
		}
		return list
	}
	r := open()
	for _, each := range []Registration{item("a", "10.0.0.1"), item("b", "10.0.0.2"), item("a", "10.0.0.3")} {
		if err := r.Put(each); err != nil {
			t.Fatal(err)
		}
	}
	if got, again := ids(r), ids(open()); got != "a=10.0.0.3 b=10.0.0.2 " || again != got {
		t.Errorf("stored %q, read again %q", got, again)
	}
	if err := r.Put(item("c", "10.0.0.2")); err != nil {
		t.Fatal(err)
	}
	if got, again := ids(r), ids(open()); got != "a=10.0.0.3 c=10.0.0.2 " || again != got {
		t.Errorf("after the reuse of an address %q, read again %q", got, again)
	}
	for range 2 {
		if err := r.Delete("a"); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"", "../x", "a/b", ".hidden"} {
		if err := r.Put(item(bad, "10.0.0.9")); err == nil {
			t.Errorf("containerID %q was taken", bad)
		}
		if err := r.Delete(bad); err == nil {
			t.Errorf("containerID %q was deleted", bad)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "broken.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRegistry(dir); err == nil || !strings.Contains(err.Error(), "broken.json") {
		t.Errorf("a broken file: %v", err)
	}
}

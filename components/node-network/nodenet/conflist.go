package nodenet

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"

	"k8s.io/klog/v2"
)

// ConflistName is the CNI configuration's file name: a low number, so that it
// is the one that the container runtime takes.
const ConflistName = "10-bookstore.conflist"

// PluginName is the type of the chained plugin and its file name in the CNI
// binary folder.
const PluginName = "node-network-cni"

type object = map[string]any

// ownPlugins are the plugins of the chain that belong to the agent, in order.
// host-local keeps its leases on tmpfs: they must end with the sandboxes.
func ownPlugins(local netip.Prefix, runDir string) []object {
	return []object{
		{
			"type": "ptp", "mtu": 1500, "ipMasq": false,
			"ipam": object{
				"type": "host-local", "dataDir": filepath.Join(runDir, "ipam"),
				"ranges": []any{[]any{object{"subnet": local.String()}}},
				"routes": []any{object{"dst": "0.0.0.0/0"}},
			},
		},
		{"type": "portmap", "capabilities": object{"portMappings": true}},
		{"type": PluginName, "socket": filepath.Join(runDir, SocketName)},
	}
}

// Conflist returns the CNI configuration for a node, and whether it differs
// from the current content. Plugins that others appended (a service mesh) are
// kept in their order, after ours.
func Conflist(current []byte, local netip.Prefix, runDir string) ([]byte, bool, error) {
	own := ownPlugins(local, runDir)
	wanted, err := normal(own)
	if err != nil {
		return nil, false, err
	}
	var foreign, present []any
	var file object
	if len(current) > 0 {
		if err := json.Unmarshal(current, &file); err != nil {
			klog.ErrorS(err, "The CNI configuration does not parse: writing it anew", "file", ConflistName)
			file = nil
		}
	}
	plugins, _ := file["plugins"].([]any)
	for _, plugin := range plugins {
		if fields, ok := plugin.(object); ok && isOwn(fields["type"], own) {
			present = append(present, plugin)
		} else {
			foreign = append(foreign, plugin)
		}
	}
	if file["name"] == "bookstore" && file["cniVersion"] == "1.0.0" && reflect.DeepEqual(present, wanted) {
		return current, false, nil
	}
	content, err := json.MarshalIndent(object{
		"cniVersion": "1.0.0", "name": "bookstore", "plugins": append(wanted, foreign...),
	}, "", "  ")
	return append(content, '\n'), true, err
}

// normal brings plugins into the form that json.Unmarshal gives, to compare.
func normal(plugins []object) ([]any, error) {
	content, err := json.Marshal(plugins)
	if err != nil {
		return nil, err
	}
	var list []any
	return list, json.Unmarshal(content, &list)
}

func isOwn(kind any, own []object) bool {
	for _, plugin := range own {
		if plugin["type"] == kind {
			return true
		}
	}
	return false
}

// ensureConflist writes the CNI configuration into dir if it is missing or
// our part of it differs.
func ensureConflist(dir string, local netip.Prefix, runDir string) error {
	path := filepath.Join(dir, ConflistName)
	current, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	content, changed, err := Conflist(current, local, runDir)
	if err != nil || !changed || bytes.Equal(content, current) {
		return err
	}
	klog.InfoS("Writing the CNI configuration", "file", path, "podCIDR", local)
	return writeAtomically(path, content, 0o644)
}

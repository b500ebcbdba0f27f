package nodenet

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"
)

// Registration is one sandbox (a pod's network namespace) on this node, as
// the CNI plugin reported it.
type Registration struct {
	ContainerID string       `json:"containerID"`
	Namespace   string       `json:"namespace"`
	Name        string       `json:"name"`
	UID         string       `json:"uid"`
	Addresses   []netip.Addr `json:"addresses"`
}

// containerIDs become file names.
var containerIDs = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,200}$`)

// Validate says which field is missing or unusable.
func (r Registration) Validate() error {
	switch {
	case !containerIDs.MatchString(r.ContainerID):
		return fmt.Errorf("containerID %q: want letters, digits, '.', '_' and '-'", r.ContainerID)
	case r.Namespace == "" || r.Name == "" || r.UID == "":
		return fmt.Errorf("pod %q/%q uid %q: want namespace, name and uid", r.Namespace, r.Name, r.UID)
	case len(r.Addresses) == 0:
		return fmt.Errorf("addresses of pod %s/%s: want at least one IPv4 address", r.Namespace, r.Name)
	}
	for _, address := range r.Addresses {
		if !address.Is4() {
			return fmt.Errorf("address %s of pod %s/%s: want IPv4", address, r.Namespace, r.Name)
		}
	}
	return nil
}

// Registry remembers the sandboxes of this node, one file each, in a folder on
// tmpfs: it survives the agent, and a restart of the node forgets it together
// with the sandboxes.
type Registry struct {
	dir   string
	mutex sync.Mutex
	items map[string]Registration
}

// OpenRegistry reads the folder dir, which it creates if needed. A file that
// does not parse is an error: guessing would open or cut off a pod.
func OpenRegistry(dir string) (*Registry, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	registry := &Registry{dir: dir, items: map[string]Registration{}}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue // the CNI plugin removes files while no agent runs
		} else if err != nil {
			return nil, err
		}
		var r Registration
		if err := json.Unmarshal(content, &r); err != nil {
			return nil, fmt.Errorf("%s: %w; delete the pod it belongs to, then this file", file, err)
		}
		if err := r.Validate(); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		registry.items[r.ContainerID] = r
	}
	return registry, nil
}

// Put stores a registration. Whatever held one of its addresses before is
// forgotten: host-local has given the address away, so that sandbox is gone.
func (r *Registry) Put(item Registration) error {
	if err := item.Validate(); err != nil {
		return err
	}
	content, err := json.Marshal(item)
	if err != nil {
		return err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for id, other := range r.items {
		if id == item.ContainerID {
			continue
		}
		for _, address := range item.Addresses {
			if slices.Contains(other.Addresses, address) {
				if err := r.remove(id); err != nil {
					return err
				}
				break
			}
		}
	}
	if err := writeAtomically(filepath.Join(r.dir, item.ContainerID+".json"), content, 0o600); err != nil {
		return err
	}
	r.items[item.ContainerID] = item
	return nil
}

// Delete forgets a sandbox; one that is not known is no error.
func (r *Registry) Delete(containerID string) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.remove(containerID)
}

func (r *Registry) remove(containerID string) error {
	delete(r.items, containerID)
	return removeRegistration(r.dir, containerID)
}

// List returns all registrations, by container id.
func (r *Registry) List() []Registration {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	list := make([]Registration, 0, len(r.items))
	for _, item := range r.items {
		list = append(list, item)
	}
	sort.Slice(list, func(i, j int) bool { return strings.Compare(list[i].ContainerID, list[j].ContainerID) < 0 })
	return list
}

func removeRegistration(dir, containerID string) error {
	if !containerIDs.MatchString(containerID) {
		return fmt.Errorf("containerID %q: want letters, digits, '.', '_' and '-'", containerID)
	}
	err := os.Remove(filepath.Join(dir, containerID+".json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

package nodenet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

// listDeadline bounds one look at the API server during an ADD; requiredFor is
// how long its answer counts before it is asked again.
const (
	listDeadline = 2 * time.Second
	requiredFor  = 2 * time.Second
)

// cniServer answers the CNI plugin on a unix socket.
type cniServer struct {
	listener net.Listener
	http     *http.Server
}

func (a *Agent) listen() (*cniServer, error) {
	path := filepath.Join(a.config.RunDir, SocketName)
	// A killed agent leaves its socket behind; the lock says that none is alive.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /sandboxes/{id}", a.handlePut)
	mux.HandleFunc("DELETE /sandboxes/{id}", a.handleDelete)
	return &cniServer{listener, &http.Server{Handler: mux, ReadHeaderTimeout: listDeadline}}, nil
}

func (s *cniServer) serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		if err := s.http.Close(); err != nil {
			klog.ErrorS(err, "Closing the socket failed")
		}
	})
	defer stop()
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (a *Agent) handlePut(w http.ResponseWriter, request *http.Request) {
	var r Registration
	err := json.NewDecoder(http.MaxBytesReader(w, request.Body, 1<<16)).Decode(&r)
	if err == nil && r.ContainerID != request.PathValue("id") {
		err = fmt.Errorf("containerID %q: want %q as in the path", r.ContainerID, request.PathValue("id"))
	}
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(request.Context(), a.config.AddTimeout)
	defer cancel()
	if err := a.admit(ctx, r); err != nil {
		klog.ErrorS(err, "A sandbox was not admitted", "pod", klog.KRef(r.Namespace, r.Name), "sandbox", r.ContainerID)
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	klog.V(2).InfoS("Sandbox admitted", "pod", klog.KRef(r.Namespace, r.Name), "addresses", r.Addresses)
	w.WriteHeader(http.StatusNoContent)
}

func (a *Agent) handleDelete(w http.ResponseWriter, request *http.Request) {
	if err := a.registry.Delete(request.PathValue("id")); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	a.Wake()
	w.WriteHeader(http.StatusNoContent)
}

// admit registers a sandbox and waits until the kernel enforces every policy
// that existed when the sandbox was created. On failure the sandbox is
// forgotten again, so its address stays closed.
func (a *Agent) admit(ctx context.Context, r Registration) error {
	if err := a.registry.Put(r); err != nil {
		return err
	}
	a.Wake()
	missing := errors.New("no rules are applied yet")
	for ctx.Err() == nil {
		wanted := a.requirements(ctx, r.Namespace)
		again := time.NewTimer(requiredFor)
		for fresh := true; fresh && ctx.Err() == nil; {
			snapshot, changed := a.enforced()
			if snapshot != nil {
				if missing = wanted.missing(snapshot, r); missing == nil {
					again.Stop()
					return nil
				}
			}
			select {
			case <-changed:
			case <-again.C:
				fresh = false
			case <-ctx.Done():
			}
		}
		again.Stop()
	}
	if err := a.registry.Delete(r.ContainerID); err != nil {
		return errors.Join(missing, err)
	}
	a.Wake()
	return missing
}

// requirements are the versions that a snapshot must have seen. Watches of
// different kinds are not ordered among each other: a pod may be seen before
// a policy that is older than the pod.
type requirements struct {
	namespace string
	policies  map[types.UID]string
}

func (a *Agent) requirements(ctx context.Context, namespace string) requirements {
	ctx, cancel := context.WithTimeout(ctx, listDeadline)
	defer cancel()
	wanted := requirements{policies: map[types.UID]string{}}
	ns, err := a.config.Client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	if err == nil {
		wanted.namespace = ns.ResourceVersion
		list, listErr := a.config.Client.NetworkingV1().NetworkPolicies(namespace).List(ctx, metav1.ListOptions{})
		if err = listErr; err == nil {
			for i := range list.Items {
				wanted.policies[list.Items[i].UID] = list.Items[i].ResourceVersion
			}
		}
	}
	if err != nil {
		// Without an API server nobody can have added a policy since.
		klog.ErrorS(err, "Cannot ask for the newest policies: those already seen must do", "namespace", namespace)
	}
	return wanted
}

// missing says what a snapshot lacks to admit a sandbox, nil if nothing.
func (w requirements) missing(s *Snapshot, r Registration) error {
	if !s.Sandboxes[r.ContainerID] {
		return fmt.Errorf("pod %s/%s with uid %s is not known to the agent as running on this node", r.Namespace, r.Name, r.UID)
	}
	if older(s.Namespaces[r.Namespace].ResourceVersion, w.namespace) {
		return fmt.Errorf("the agent has not seen version %s of namespace %s yet", w.namespace, r.Namespace)
	}
	seen := map[types.UID]string{}
	for _, policy := range s.Policies {
		seen[policy.UID] = policy.ResourceVersion
	}
	for uid, version := range w.policies {
		if have, ok := seen[uid]; !ok || older(have, version) {
			return fmt.Errorf("the agent has not seen version %s of the NetworkPolicy with uid %s yet", version, uid)
		}
	}
	return nil
}

// older compares resource versions, which Kubernetes defines as comparable
// decimal numbers (KEP-5504) and etcd has always numbered so.
func older(have, wanted string) bool {
	if have == wanted || wanted == "" {
		return false
	}
	h, err := strconv.ParseUint(have, 10, 64)
	w, wErr := strconv.ParseUint(wanted, 10, 64)
	return err != nil || wErr != nil || h < w
}

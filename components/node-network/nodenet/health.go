package nodenet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"k8s.io/klog/v2"
)

// Status is what /healthz answers, as JSON.
type Status struct {
	Node      string  `json:"node"`
	Ready     bool    `json:"ready"`
	Error     string  `json:"error,omitempty"`
	LocalPods int     `json:"localPods"`
	Pods      int     `json:"pods"`
	Routes    int     `json:"routes"`
	Applies   int     `json:"applies"`
	Steps     int     `json:"lastApplySteps"`
	Seconds   float64 `json:"lastApplySeconds"`
	// Policies maps namespace/name to the generation in force, so that a
	// caller can tell when a change has arrived on this node.
	Policies map[string]int64 `json:"policies"`
}

func (s *Status) observe(snapshot *Snapshot, steps int, took time.Duration) {
	s.Ready = true
	s.Pods, s.LocalPods = len(snapshot.Pods), 0
	for _, pod := range snapshot.Pods {
		if pod.Local {
			s.LocalPods++
		}
	}
	if steps > 0 {
		s.Applies++
		s.Steps, s.Seconds = steps, took.Seconds()
	}
	s.Policies = make(map[string]int64, len(snapshot.Policies))
	for _, policy := range snapshot.Policies {
		s.Policies[policyKey(policy)] = policy.Generation
	}
}

// Status returns the agent's state: ready once rules were applied, with the
// error of the last step if that failed.
func (a *Agent) Status() Status {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	status := a.status
	status.Node = a.config.NodeName
	return status
}

// ServeHealth answers GET /healthz on address until ctx ends: 200 if rules,
// routes and the CNI configuration are as they should be, else 503; the body
// is a Status either way.
func (a *Agent) ServeHealth(ctx context.Context, address string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("health address (--health-port): %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		status := a.Status()
		w.Header().Set("Content-Type", "application/json")
		if !status.Ready || status.Error != "" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		if err := json.NewEncoder(w).Encode(status); err != nil {
			klog.V(2).ErrorS(err, "A health answer was not taken")
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	stop := context.AfterFunc(ctx, func() {
		if err := server.Close(); err != nil {
			klog.ErrorS(err, "Closing the health port failed")
		}
	})
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

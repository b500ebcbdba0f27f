package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bookstore.platform/istio/nodeproxy/admin"
	"bookstore.platform/istio/nodeproxy/cni"
)

// config is what the DaemonSet of Istio's ztunnel chart gives.
type config struct {
	discovery, authority                 string // istiod's addresses
	pod, namespace, account, node, ownIP string
	cluster, network, domain, version    string
	tokenFile, rootFile                  string
	socket, resolvConf                   string
	grace                                time.Duration
	level                                slog.Level
	json                                 bool
	readinessAt, metricsAt, localAt      string
	fileDescriptors                      uint64
}

// environment reads it; every name that is missing is told at once.
func environment(get func(string) string) (config, error) {
	var missing []string
	need := func(name string) string {
		value := get(name)
		if value == "" {
			missing = append(missing, name)
		}
		return value
	}
	or := func(name, otherwise string) string {
		if value := get(name); value != "" {
			return value
		}
		return otherwise
	}
	c := config{
		discovery: need("XDS_ADDRESS"), authority: need("CA_ADDRESS"), pod: need("POD_NAME"), namespace: need("POD_NAMESPACE"),
		account: need("SERVICE_ACCOUNT"), node: need("NODE_NAME"), ownIP: need("INSTANCE_IP"),
		cluster: or("ISTIO_META_CLUSTER_ID", "Kubernetes"), network: get("NETWORK"),
		domain: or("CLUSTER_DOMAIN", "cluster.local"), version: get("ISTIO_VERSION"),
		tokenFile: or("ISTIO_TOKEN_FILE", tokenFile), rootFile: or("ISTIO_ROOT_FILE", rootFile),
		socket: or("ZDS_SOCKET", cni.Socket), resolvConf: or("RESOLV_CONF", "/etc/resolv.conf"), json: get("LOG_FORMAT") == "json",
		readinessAt: admin.ReadinessAddress, metricsAt: admin.MetricsAddress, localAt: admin.LocalAddress,
	}
	if len(missing) > 0 {
		return c, fmt.Errorf("environment variables are missing: %s", strings.Join(missing, ", "))
	}
	seconds, err := strconv.Atoi(or("TERMINATION_GRACE_PERIOD_SECONDS", "30"))
	if err != nil || seconds < 0 {
		return c, errors.New("TERMINATION_GRACE_PERIOD_SECONDS: write a number of seconds")
	}
	// One second is left for the end itself.
	c.grace = max(time.Duration(seconds)*time.Second-time.Second, 0)
	if c.level, err = admin.Level(or("RUST_LOG", "info")); err != nil {
		return c, fmt.Errorf("RUST_LOG: %w", err)
	}
	return c, nil
}

// limits raises the number of descriptors to what the runtime allows, and tells the collector how much memory there is.
func limits(log *slog.Logger) (descriptors uint64, err error) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return 0, fmt.Errorf("RLIMIT_NOFILE: %w", err)
	}
	files.Cur = files.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return 0, fmt.Errorf("RLIMIT_NOFILE: %w", err)
	}
	log.Info("limits", "descriptors", files.Cur)
	text, err := os.ReadFile("/sys/fs/cgroup/memory.max")
	if err != nil {
		return files.Cur, nil // no control group: no limit of memory
	}
	if memory, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
		debug.SetMemoryLimit(memory / 10 * 9)
		log.Info("limits", "memory", memory)
	}
	return files.Cur, nil
}

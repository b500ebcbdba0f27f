package nodenet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// AgentName is the applet name of the agent.
const AgentName = "node-network"

type agentFlags struct {
	nodeName, podCIDR, serviceCIDR, cniDir, runDir, kubeconfig, apiServer string
	closedPorts, closedAddresses                                          []string
	healthPort                                                            int
	addTimeout, resync                                                    time.Duration
}

// NewAgentCommand returns the agent as a command that runs until ctx ends.
func NewAgentCommand(ctx context.Context) *cobra.Command {
	var flags agentFlags
	command := &cobra.Command{
		Use:   AgentName,
		Short: "Pod network and NetworkPolicy of one node",
		Args:  cobra.NoArgs, SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error { return flags.run(ctx) },
	}
	set := command.Flags()
	set.StringVar(&flags.nodeName, "node-name", os.Getenv("NODE_NAME"), "this node's name (default: environment variable NODE_NAME)")
	set.StringVar(&flags.podCIDR, "pod-cidr", "10.244.0.0/16", "addresses of all pods of the cluster")
	set.StringVar(&flags.serviceCIDR, "service-cidr", "", "addresses of all Services; what goes there and was not translated is refused (default: is not)")
	set.StringSliceVar(&flags.closedPorts, "closed-node-ports", nil, "node ports that pods may not reach, with commas between")
	set.StringSliceVar(&flags.closedAddresses, "closed-addresses", nil, "addresses beside the nodes that pods may not reach, with commas between")
	set.StringVar(&flags.cniDir, "cni-dir", "/etc/cni/net.d", "folder of the node's CNI configurations")
	set.StringVar(&flags.runDir, "run-dir", "/run/bookstore-node-network", "folder on tmpfs, at the same path on the node")
	set.StringVar(&flags.kubeconfig, "kubeconfig", "", "kubeconfig file (default: the pod's service account)")
	set.StringVar(&flags.apiServer, "api-server", "", "host:port of the API server in place of the Service's, to be independent of kube-proxy")
	set.IntVar(&flags.healthPort, "health-port", 10260, "port of /healthz on 127.0.0.1")
	set.DurationVar(&flags.addTimeout, "add-timeout", 10*time.Second, "how long a starting pod waits for its policies, at most 15s")
	set.DurationVar(&flags.resync, "resync", 30*time.Second, "how often the kernel is compared with what was applied")
	return command
}

func (f *agentFlags) run(ctx context.Context) error {
	cluster, err := netip.ParsePrefix(f.podCIDR)
	switch {
	case f.nodeName == "":
		return errors.New("--node-name is empty: want the node's name, or environment variable NODE_NAME from spec.nodeName")
	case err != nil || !cluster.Addr().Is4():
		return fmt.Errorf("--pod-cidr is %q: want an IPv4 range such as 10.244.0.0/16", f.podCIDR)
	case f.healthPort < 1 || f.healthPort > 65535:
		return fmt.Errorf("--health-port is %d: want 1 to 65535", f.healthPort)
	case f.addTimeout <= 0 || f.addTimeout > 15*time.Second:
		return fmt.Errorf("--add-timeout is %s: want more than 0s and at most 15s, as the plugin waits 20s", f.addTimeout)
	case f.resync < time.Second:
		return fmt.Errorf("--resync is %s: want at least 1s", f.resync)
	case !filepath.IsAbs(f.runDir):
		return fmt.Errorf("--run-dir is %q: want an absolute path", f.runDir)
	}
	config, err := f.restConfig()
	if err != nil {
		return err
	}
	services, err := servicePrefix(f.serviceCIDR)
	if err != nil {
		return err
	}
	closed, err := portNumbers(f.closedPorts)
	if err != nil {
		return err
	}
	addresses, err := closedAddresses(f.closedAddresses)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	agent, err := New(Config{
		NodeName: f.nodeName, ClusterCIDR: cluster.Masked(), ServiceCIDR: services, ClosedPorts: closed, ClosedAddrs: addresses,
		CNIDir: f.cniDir, RunDir: f.runDir, Client: client, AddTimeout: f.addTimeout, Resync: f.resync,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 2)
	go func() {
		ended <- agent.ServeHealth(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(f.healthPort)))
	}()
	go func() { ended <- agent.Run(ctx) }()
	klog.InfoS("The node-network agent starts", "node", f.nodeName, "apiServer", config.Host)
	err = <-ended
	cancel()
	return errors.Join(err, <-ended)
}

// servicePrefix reads --service-cidr; empty gives no valid prefix.
func servicePrefix(text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || !prefix.Addr().Is4() || prefix.Bits() == 0 {
		return netip.Prefix{}, fmt.Errorf("--service-cidr is %q: want an IPv4 range such as 10.96.0.0/16, or nothing", text)
	}
	return prefix.Masked(), nil
}

// portNumbers reads --closed-node-ports.
func portNumbers(texts []string) ([]uint16, error) {
	var ports []uint16
	for _, text := range texts {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("--closed-node-ports holds %q: want numbers from 1 to 65535 with commas between", text)
		}
		ports = append(ports, uint16(port))
	}
	return ports, nil
}

// closedAddresses reads --closed-addresses.
func closedAddresses(texts []string) ([]netip.Addr, error) {
	var addresses []netip.Addr
	for _, text := range texts {
		address, err := netip.ParseAddr(text)
		if err != nil || !address.Is4() || address.IsUnspecified() || address.IsLoopback() {
			return nil, fmt.Errorf("--closed-addresses holds %q: want IPv4 addresses of hosts with commas between", text)
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

func (f *agentFlags) restConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", f.kubeconfig)
	if err != nil {
		return nil, err
	}
	config.UserAgent = AgentName
	// JSON costs several times the memory and time.
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	if f.apiServer != "" {
		if _, _, err := net.SplitHostPort(f.apiServer); err != nil {
			return nil, fmt.Errorf("--api-server is %q: want host:port: %w", f.apiServer, err)
		}
		config.Host = "https://" + f.apiServer
	}
	return config, nil
}

// NewCNICommand returns the chained CNI plugin; its input is the environment
// and standard input, as the CNI specification says.
func NewCNICommand() *cobra.Command {
	return &cobra.Command{
		Use:   PluginName,
		Short: "CNI plugin that holds a pod back until its policies are in force",
		Run: func(*cobra.Command, []string) {
			skel.PluginMainFuncs(cniFunctions(), cniVersions, PluginName+": chained plugin of the node-network agent")
		},
	}
}

package nodenet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
)

// SocketName is the agent's socket in its run folder.
const SocketName = "agent.sock"

// The agent answers an ADD within its own limit; the plugin waits longer, so
// that the agent's explanation arrives.
const (
	addDeadline    = 20 * time.Second
	deleteDeadline = 3 * time.Second
)

type pluginConfig struct {
	types.NetConf
	Socket string `json:"socket"`
}

type kubernetesArgs struct {
	types.CommonArgs
	K8S_POD_NAMESPACE types.UnmarshallableString //nolint:revive // CNI_ARGS names its fields so
	K8S_POD_NAME      types.UnmarshallableString //nolint:revive
	K8S_POD_UID       types.UnmarshallableString //nolint:revive
}

// cniFunctions is the chained plugin: it changes nothing in the result, but
// holds a pod's start back until the agent has applied the pod's policies.
func cniFunctions() skel.CNIFuncs {
	return skel.CNIFuncs{Add: cniAdd, Del: cniDelete, Check: cniCheck}
}

var cniVersions = version.PluginSupports("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

func cniAdd(args *skel.CmdArgs) error {
	config, err := parseConfig(args.StdinData)
	if err != nil {
		return err
	}
	if config.PrevResult == nil {
		return types.NewError(types.ErrInvalidNetworkConfig, PluginName+" got no prevResult",
			"it must be chained after the plugin that gives the pod its address")
	}
	registration, err := registrationOf(args, config)
	if err != nil {
		return types.NewError(types.ErrInvalidEnvironmentVariables, err.Error(), "")
	}
	ctx, cancel := context.WithTimeout(context.Background(), addDeadline)
	defer cancel()
	if err := Register(ctx, config.Socket, registration); err != nil {
		return types.NewError(types.ErrTryAgainLater, fmt.Sprintf(
			"the node-network agent has not admitted pod %s/%s", registration.Namespace, registration.Name), err.Error())
	}
	return types.PrintResult(config.PrevResult, config.CNIVersion)
}

// cniDelete never fails: a pod must be removable while the agent is down. The
// agent then finds at its start that the registration is gone.
func cniDelete(args *skel.CmdArgs) error {
	config, err := parseConfig(args.StdinData)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), deleteDeadline)
	defer cancel()
	if err := Unregister(ctx, config.Socket, args.ContainerID); err != nil {
		dir := filepath.Join(filepath.Dir(config.Socket), registrationsDir)
		return removeRegistration(dir, args.ContainerID)
	}
	return nil
}

func cniCheck(*skel.CmdArgs) error { return nil }

func parseConfig(stdin []byte) (*pluginConfig, error) {
	config := &pluginConfig{}
	err := json.Unmarshal(stdin, config)
	if err == nil {
		err = version.ParsePrevResult(&config.NetConf)
	}
	if err == nil && config.Socket == "" {
		err = errors.New(`"socket" is missing: want the path of the agent's socket`)
	}
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "configuration of "+PluginName, err.Error())
	}
	return config, nil
}

func registrationOf(args *skel.CmdArgs, config *pluginConfig) (Registration, error) {
	var pod kubernetesArgs
	// containerd passes more keys than these.
	if err := types.LoadArgs(strings.TrimSuffix("IgnoreUnknown=1;"+args.Args, ";"), &pod); err != nil {
		return Registration{}, fmt.Errorf("CNI_ARGS %q: %w", args.Args, err)
	}
	result, err := current.NewResultFromResult(config.PrevResult)
	if err != nil {
		return Registration{}, fmt.Errorf("prevResult: %w", err)
	}
	r := Registration{
		ContainerID: args.ContainerID,
		Namespace:   string(pod.K8S_POD_NAMESPACE), Name: string(pod.K8S_POD_NAME), UID: string(pod.K8S_POD_UID),
	}
	for _, ip := range result.IPs {
		if address, ok := netip.AddrFromSlice(ip.Address.IP); ok && address.Unmap().Is4() {
			r.Addresses = append(r.Addresses, address.Unmap())
		}
	}
	return r, r.Validate()
}

// Register announces a sandbox to the agent behind socket and returns when the
// pod's policies are in force. The error carries the agent's explanation.
func Register(ctx context.Context, socket string, r Registration) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return call(ctx, socket, http.MethodPut, r.ContainerID, body)
}

// Unregister tells the agent that a sandbox is gone.
func Unregister(ctx context.Context, socket, containerID string) error {
	return call(ctx, socket, http.MethodDelete, containerID, nil)
}

func call(ctx context.Context, socket, method, containerID string, body []byte) (err error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, method, "http://agent/sandboxes/"+containerID, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err == nil && response.StatusCode != http.StatusNoContent {
		err = fmt.Errorf("%s: %s", response.Status, bytes.TrimSpace(text))
	}
	return err
}

// Package discovery takes workloads, services and authorization policies from istiod by delta xDS.
//
// It keeps one stream. On each new stream it names nothing that it holds, so that istiod answers each type with the whole state; the first
// response of each type replaces what is held. What was deleted while the stream was cut is therefore gone, a permission too.
package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	"bookstore.platform/istio/nodeproxy/istiod"
	"bookstore.platform/istio/nodeproxy/state"
)

// The types that are asked for.
const (
	AddressType       = "type.googleapis.com/istio.workload.Address"
	AuthorizationType = "type.googleapis.com/istio.security.Authorization"
)

// Node says to istiod who asks. Namespace and ServiceAccount must be those of the token.
type Node struct {
	IP, PodName, Namespace, ServiceAccount, NodeName, ClusterID, Network, ClusterDomain, IstioVersion string
}

// Sink takes the responses; state.Store is one.
type Sink interface {
	ApplyAddresses(whole bool, removed []string, added []state.Resource) map[string]error
	ApplyPolicies(whole bool, removed []string, added []state.Resource) map[string]error
}

// Client keeps a Sink up to date.
type Client struct {
	Istiod istiod.Config
	Node   Node
	Sink   Sink
	Log    *slog.Logger
	// The pauses between attempts: doubled from the first to the last, with jitter. Zero is 100 ms and 15 s.
	FirstPause, LastPause time.Duration
	// AnswerTimeout bounds how long a new stream may give no answer. Zero is 60 s.
	AnswerTimeout time.Duration

	mutex  sync.Mutex
	status Status
}

// Status tells how the stream is.
type Status struct {
	Connected bool
	// Streams counts streams that were answered, Rejected responses of which something was rejected.
	Streams, Responses, Rejected uint64
	LastError                    string
}

// Status returns how the stream is.
func (c *Client) Status() Status {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.status
}

func (c *Client) update(change func(*Status)) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	change(&c.status)
}

// Run keeps a stream until the context ends. It never gives up.
func (c *Client) Run(ctx context.Context) {
	first, last := withDefault(c.FirstPause, 100*time.Millisecond), withDefault(c.LastPause, 15*time.Second)
	pause := first
	for ctx.Err() == nil {
		answered, err := c.stream(ctx)
		c.update(func(s *Status) {
			s.Connected = false
			if err != nil {
				s.LastError = err.Error()
			}
		})
		if answered {
			pause = first
		}
		if ctx.Err() != nil {
			return
		}
		c.Log.Warn("discovery stream ended", "error", err, "answered", answered, "pause", pause.String())
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		}
		pause = min(2*pause, last)
	}
}

func withDefault(given, otherwise time.Duration) time.Duration {
	if given == 0 {
		return otherwise
	}
	return given
}

// stream runs one stream to its end and tells whether it was answered.
func (c *Client) stream(ctx context.Context) (answered bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	connection, err := istiod.Dial(c.Istiod)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, connection.Close()) }()
	call, err := istiod.WithToken(ctx, c.Istiod)
	if err != nil {
		return false, err
	}
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(connection).DeltaAggregatedResources(call)
	if err != nil {
		return false, err
	}
	node, err := c.node()
	if err != nil {
		return false, err
	}
	missing := map[string]bool{AddressType: true, AuthorizationType: true}
	timeout := time.AfterFunc(withDefault(c.AnswerTimeout, time.Minute), func() { cancel(errors.New("istiod does not answer")) })
	defer timeout.Stop()
	for _, typeURL := range []string{AddressType, AuthorizationType} {
		if err := stream.Send(&discovery.DeltaDiscoveryRequest{Node: node, TypeUrl: typeURL}); err != nil && !errors.Is(err, io.EOF) {
			return false, err // after io.EOF Recv tells the reason
		}
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return answered, err
		}
		whole := missing[response.GetTypeUrl()]
		rejected, err := c.apply(response, whole)
		if err != nil {
			return answered, err
		}
		delete(missing, response.GetTypeUrl())
		if len(missing) == 0 && !answered {
			answered = true
			timeout.Stop()
			c.update(func(s *Status) { s.Connected, s.LastError, s.Streams = true, "", s.Streams+1 })
			c.Log.Info("discovery has the whole state")
		}
		c.update(func(s *Status) {
			s.Responses++
			if len(rejected) > 0 {
				s.Rejected++
			}
		})
		answer := &discovery.DeltaDiscoveryRequest{TypeUrl: response.GetTypeUrl(), ResponseNonce: response.GetNonce(), ErrorDetail: detail(rejected)}
		if len(rejected) > 0 {
			c.Log.Error("resources cannot be understood and refuse", "type", response.GetTypeUrl(), "resources", answer.ErrorDetail.GetMessage())
		}
		if err := stream.Send(answer); err != nil && !errors.Is(err, io.EOF) {
			return answered, err
		}
	}
}

func (c *Client) apply(response *discovery.DeltaDiscoveryResponse, whole bool) (map[string]error, error) {
	added := make([]state.Resource, 0, len(response.GetResources()))
	for _, one := range response.GetResources() {
		resource := state.Resource{Name: one.GetName(), Data: one.GetResource().GetValue()}
		if got := one.GetResource().GetTypeUrl(); got != response.GetTypeUrl() {
			resource.Err = fmt.Errorf("it is of type %q instead of %q", got, response.GetTypeUrl())
		}
		added = append(added, resource)
	}
	switch response.GetTypeUrl() {
	case AddressType:
		return c.Sink.ApplyAddresses(whole, response.GetRemovedResources(), added), nil
	case AuthorizationType:
		return c.Sink.ApplyPolicies(whole, response.GetRemovedResources(), added), nil
	default:
		return nil, fmt.Errorf("istiod answers with type %q, which was not asked for", response.GetTypeUrl())
	}
}

// detail names what was rejected and why, within bounds; nil if nothing was.
func detail(rejected map[string]error) *status.Status {
	if len(rejected) == 0 {
		return nil
	}
	var reasons []string
	for _, err := range rejected {
		reasons = append(reasons, err.Error())
	}
	slices.Sort(reasons)
	text := strings.Join(reasons, "; ")
	if len(text) > 2000 {
		text = fmt.Sprintf("%d resources: %s …", len(rejected), strings.ToValidUTF8(text[:2000], ""))
	}
	return &status.Status{Code: int32(codes.InvalidArgument), Message: strings.ToValidUTF8(text, "?")}
}

func (c *Client) node() (*core.Node, error) {
	n := c.Node
	domain := n.ClusterDomain
	if domain == "" {
		domain = "cluster.local"
	}
	metadata, err := structpb.NewStruct(map[string]any{
		"NAME": n.PodName, "NAMESPACE": n.Namespace, "INSTANCE_IPS": n.IP, "NODE_NAME": n.NodeName, "CLUSTER_ID": n.ClusterID,
		"NETWORK": n.Network, "SERVICE_ACCOUNT": n.ServiceAccount, "ISTIO_VERSION": n.IstioVersion,
	})
	if err != nil {
		return nil, fmt.Errorf("the node's metadata: %w", err)
	}
	// istiod takes the type and the namespace from this name.
	id := fmt.Sprintf("ztunnel~%s~%s.%s~%s.svc.%s", n.IP, n.PodName, n.Namespace, n.Namespace, domain)
	return &core.Node{Id: id, Metadata: metadata}, nil
}

package istiodtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	pb "istio.io/api/security/v1alpha1"

	"bookstore.platform/istio/nodeproxy/istiod"
)

// Server is a running istiod.
type Server struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	pb.UnimplementedIstioCertificateServiceServer

	CA *CA

	t       testing.TB
	config  istiod.Config
	service discovery.AggregatedDiscoveryServiceServer
	signer  pb.IstioCertificateServiceServer

	mutex    sync.Mutex
	answer   func(ctx context.Context, identity string, public any) ([]string, error)
	lifetime time.Duration
	grpc     *grpc.Server
	token    string
	held     map[string]map[string]*discovery.Resource
	streams  map[*stream]bool
	requests []*discovery.DeltaDiscoveryRequest
	faults   []string
	signed   map[string]int
	order    []string
}

type stream struct {
	out    chan *discovery.DeltaDiscoveryResponse
	cut    chan struct{}
	asked  map[string]bool
	nonces map[string]string
}

// Start starts an istiod that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartFor(t, nil, nil)
}

// StartFor starts an istiod whose services are the given ones; nil is the one of this package.
func StartFor(t testing.TB, service discovery.AggregatedDiscoveryServiceServer, signer pb.IstioCertificateServiceServer) *Server {
	t.Helper()
	directory := t.TempDir()
	s := &Server{
		service: service, signer: signer, CA: NewCA(t, "root"), t: t, lifetime: time.Hour, token: "token-1",
		held: map[string]map[string]*discovery.Resource{}, streams: map[*stream]bool{},
		signed: map[string]int{},
		config: istiod.Config{
			TokenFile: filepath.Join(directory, "token"), RootFile: filepath.Join(directory, "root.pem"), ClusterID: "Kubernetes", Address: "127.0.0.1:0",
		},
	}
	if s.service == nil {
		s.service = s
	}
	if s.signer == nil {
		s.signer = s
	}
	s.WriteRoots(s.CA)
	s.SetToken("token-1", true)
	s.Up()
	t.Cleanup(s.Down)
	return s
}

// Config returns how to dial the server.
func (s *Server) Config() istiod.Config { return s.config }

// WriteRoots writes the file of root certificates.
func (s *Server) WriteRoots(roots ...*CA) {
	var text string
	for _, one := range roots {
		text += PEM(one.Certificate)
	}
	s.write(s.config.RootFile, text)
}

// SetToken changes the token that is demanded, and the file of the client if it is to know.
func (s *Server) SetToken(token string, known bool) {
	s.mutex.Lock()
	s.token = token
	s.mutex.Unlock()
	if known {
		s.write(s.config.TokenFile, token+"\n")
	}
}

func (s *Server) write(path, text string) {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Up starts serving, after Down on the same port.
func (s *Server) Up() {
	listener, err := net.Listen("tcp", s.config.Address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.config.Address = listener.Addr().String()
	key := NewKey(s.t)
	leaf := s.CA.Sign(s.t, serverTemplate(s.t), key.Public())
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}},
	})))
	discovery.RegisterAggregatedDiscoveryServiceServer(server, s.service)
	pb.RegisterIstioCertificateServiceServer(server, s.signer)
	s.mutex.Lock()
	s.grpc = server
	s.mutex.Unlock()
	go func() {
		if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			s.Fault("serving ended: %v", err)
		}
	}()
}

// Down ends all streams and stops serving.
func (s *Server) Down() {
	s.mutex.Lock()
	server := s.grpc
	s.grpc = nil
	s.mutex.Unlock()
	if server != nil {
		server.Stop()
	}
}

// Fault notes something that the client did wrong.
func (s *Server) Fault(format string, values ...any) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.faults = append(s.faults, fmt.Sprintf(format, values...))
}

// Faults returns what the client did wrong.
func (s *Server) Faults() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]string(nil), s.faults...)
}

// Requests returns what was asked and answered by the client since the last call.
func (s *Server) Requests() []*discovery.DeltaDiscoveryRequest {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	out := s.requests
	s.requests = nil
	return out
}

// Set changes the state without telling the open streams: as changes come while the client is cut off.
func (s *Server) Set(typeURL string, resources map[string][]byte, removed ...string) *discovery.DeltaDiscoveryResponse {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.held[typeURL] == nil {
		s.held[typeURL] = map[string]*discovery.Resource{}
	}
	response := &discovery.DeltaDiscoveryResponse{TypeUrl: typeURL, RemovedResources: removed}
	for _, name := range removed {
		delete(s.held[typeURL], name)
	}
	for name, data := range resources {
		one := &discovery.Resource{Name: name, Resource: &anypb.Any{TypeUrl: typeURL, Value: data}}
		s.held[typeURL][name] = one
		response.Resources = append(response.Resources, one)
	}
	return response
}

// Push changes the state and tells the open streams.
func (s *Server) Push(typeURL string, resources map[string][]byte, removed ...string) {
	s.Send(s.Set(typeURL, resources, removed...))
}

// Send sends a response to the open streams that asked for its type.
func (s *Server) Send(response *discovery.DeltaDiscoveryResponse) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for one := range s.streams {
		if one.asked[response.GetTypeUrl()] {
			one.send(response)
		}
	}
}

// Cut ends the open streams.
func (s *Server) Cut() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for one := range s.streams {
		close(one.cut)
		delete(s.streams, one)
	}
}

// send numbers a response and queues it; the caller holds the lock.
func (o *stream) send(response *discovery.DeltaDiscoveryResponse) {
	nonce := fmt.Sprintf("%p-%d", o, len(o.nonces))
	o.nonces[nonce] = response.GetTypeUrl()
	o.out <- &discovery.DeltaDiscoveryResponse{
		TypeUrl: response.GetTypeUrl(), Nonce: nonce, Resources: response.GetResources(), RemovedResources: response.GetRemovedResources(),
	}
}

func (s *Server) authenticate(ctx context.Context) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	values, _ := metadata.FromIncomingContext(ctx)
	if strings.Join(values.Get("authorization"), " ") != "Bearer "+s.token || strings.Join(values.Get("clusterid"), " ") != "Kubernetes" {
		return status.Error(codes.Unauthenticated, "authentication failure")
	}
	return nil
}

// DeltaAggregatedResources serves a stream as istiod does: the first request of a type is answered by its whole state in one message.
func (s *Server) DeltaAggregatedResources(server discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	if err := s.authenticate(server.Context()); err != nil {
		return err
	}
	one := &stream{
		out: make(chan *discovery.DeltaDiscoveryResponse, 100), cut: make(chan struct{}), asked: map[string]bool{}, nonces: map[string]string{},
	}
	s.mutex.Lock()
	s.streams[one] = true
	s.mutex.Unlock()
	failed := make(chan error, 1)
	go func() {
		for {
			request, err := server.Recv()
			if err != nil {
				failed <- err
				return
			}
			s.received(one, request)
		}
	}()
	defer func() {
		s.mutex.Lock()
		delete(s.streams, one)
		s.mutex.Unlock()
	}()
	for {
		select {
		case response := <-one.out:
			if err := server.Send(response); err != nil {
				return err
			}
		case err := <-failed:
			return err
		case <-one.cut:
			return status.Error(codes.Unavailable, "the stream was cut")
		}
	}
}

func (s *Server) received(one *stream, request *discovery.DeltaDiscoveryRequest) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.requests = append(s.requests, request)
	typeURL := request.GetTypeUrl()
	if len(request.GetResourceNamesSubscribe())+len(request.GetResourceNamesUnsubscribe())+len(request.GetInitialResourceVersions()) > 0 {
		s.faults = append(s.faults, "names in a request of all")
	}
	if nonce := request.GetResponseNonce(); nonce != "" {
		if one.nonces[nonce] != typeURL {
			s.faults = append(s.faults, "nonce "+nonce+" is not of this stream and type "+typeURL)
		}
		return
	}
	if one.asked[typeURL] {
		s.faults = append(s.faults, "asked twice for "+typeURL)
	}
	if id := request.GetNode().GetId(); id != "ztunnel~10.0.0.1~proxy-1.istio-system~istio-system.svc.cluster.local" {
		s.faults = append(s.faults, "node "+id)
	}
	one.asked[typeURL] = true
	response := &discovery.DeltaDiscoveryResponse{TypeUrl: typeURL}
	for _, resource := range s.held[typeURL] {
		response.Resources = append(response.Resources, resource)
	}
	one.send(response)
}

// Signed returns how often a certificate was asked for each identity, and the identities in the order of asking.
func (s *Server) Signed() (map[string]int, []string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	out := map[string]int{}
	for identity, count := range s.signed {
		out[identity] = count
	}
	return out, append([]string(nil), s.order...)
}

// CreateCertificate signs for the identity that the proxy acts for, as istiod does: names in the request do not count.
func (s *Server) CreateCertificate(ctx context.Context, request *pb.IstioCertificateRequest) (*pb.IstioCertificateResponse, error) {
	if err := s.authenticate(ctx); err != nil {
		return nil, err
	}
	identity := request.GetMetadata().GetFields()["ImpersonatedIdentity"].GetStringValue()
	if !strings.HasPrefix(identity, "spiffe://") {
		s.Fault("the impersonated identity is %q", identity)
		return nil, status.Error(codes.Unauthenticated, "request impersonation authentication failure")
	}
	block, _ := pem.Decode([]byte(request.GetCsr()))
	if block == nil {
		return nil, status.Error(codes.InvalidArgument, "no request in PEM")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	s.mutex.Lock()
	s.signed[identity]++
	s.order = append(s.order, identity)
	answer, lifetime := s.answer, s.lifetime
	s.mutex.Unlock()
	if answer != nil {
		chain, err := answer(ctx, identity, csr.PublicKey)
		return &pb.IstioCertificateResponse{CertChain: chain}, err
	}
	now := time.Now()
	leaf := s.CA.Sign(s.t, Leaf(s.t, now, now.Add(lifetime), identity), csr.PublicKey)
	return &pb.IstioCertificateResponse{CertChain: []string{PEM(leaf), PEM(s.CA.Certificate)}}, nil
}

// SetAnswer changes how requests for certificates are answered; nil is the CA.
func (s *Server) SetAnswer(answer func(ctx context.Context, identity string, public any) ([]string, error)) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.answer = answer
}

// SetLifetime changes how long certificates are valid.
func (s *Server) SetLifetime(lifetime time.Duration) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.lifetime = lifetime
}

// Eventually waits until the condition holds, for 10 seconds at most.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("not within 10 s: %s", what)
		case <-tick.C:
		}
	}
}

package cni

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"istio.io/istio/pkg/zdsapi"

	"bookstore.platform/istio/nodeproxy/internal/nettest"
	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/sockets"
)

var quiet = slog.New(slog.DiscardHandler)

// node is an istio-cni of the test.
type node struct {
	t        *testing.T
	path     string
	listener *net.UnixListener
}

func newNode(t *testing.T) *node {
	n := &node{t: t, path: filepath.Join(t.TempDir(), "s")}
	n.listen()
	return n
}

func (n *node) listen() {
	n.t.Helper()
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: n.path})
	if err != nil {
		n.t.Fatal(err)
	}
	n.listener = listener
	n.t.Cleanup(func() { _ = listener.Close() })
}

// accept takes a proxy's connection and its hello.
func (n *node) accept() *net.UnixConn {
	n.t.Helper()
	_ = n.listener.SetDeadline(time.Now().Add(nettest.Wait))
	connection, err := n.listener.AcceptUnix()
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = connection.Close() })
	_ = connection.SetDeadline(time.Now().Add(nettest.Wait))
	buffer := make([]byte, 100)
	size, err := connection.Read(buffer)
	hello := &zdsapi.ZdsHello{}
	if err != nil || proto.Unmarshal(buffer[:size], hello) != nil || hello.Version != zdsapi.Version_V1 {
		n.t.Fatalf("hello: %v %v", hello, err)
	}
	return connection
}

func send(t *testing.T, to *net.UnixConn, request *zdsapi.WorkloadRequest, fds ...int) string {
	t.Helper()
	data, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return sendRaw(t, to, data, fds...)
}

func sendRaw(t *testing.T, to *net.UnixConn, data []byte, fds ...int) string {
	t.Helper()
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if _, _, err := to.WriteMsgUnix(data, rights, nil); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, maximum)
	size, err := to.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	response := &zdsapi.WorkloadResponse{}
	if err := proto.Unmarshal(buffer[:size], response); err != nil {
		t.Fatal(err)
	}
	return response.GetAck().GetError()
}

func adding(uid, account string) *zdsapi.WorkloadRequest {
	return &zdsapi.WorkloadRequest{Payload: &zdsapi.WorkloadRequest_Add{Add: &zdsapi.AddWorkload{Uid: uid,
		WorkloadInfo: &zdsapi.WorkloadInfo{Name: "pod-" + uid, Namespace: "shop", ServiceAccount: account}}}}
}

func keeping(uid string) *zdsapi.WorkloadRequest {
	return &zdsapi.WorkloadRequest{Payload: &zdsapi.WorkloadRequest_Keep{Keep: &zdsapi.KeepWorkload{Uid: uid}}}
}

func deleting(uid string) *zdsapi.WorkloadRequest {
	return &zdsapi.WorkloadRequest{Payload: &zdsapi.WorkloadRequest_Del{Del: &zdsapi.DelWorkload{Uid: uid}}}
}

var snapshotSent = &zdsapi.WorkloadRequest{Payload: &zdsapi.WorkloadRequest_SnapshotSent{SnapshotSent: &zdsapi.SnapshotSent{}}}

// starter records what runs.
type starter struct {
	mutex sync.Mutex
	runs  []string // uid, a plus for a start and a minus for a stop
	fail  error
}

type running struct {
	starter   *starter
	uid       string
	namespace *sockets.Namespace
}

func (s *starter) start(pod mesh.Pod, namespace *sockets.Namespace) (Instance, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	s.runs = append(s.runs, "+"+pod.UID)
	return &running{s, pod.UID, namespace}, nil
}

func (r *running) Stop() {
	r.starter.mutex.Lock()
	defer r.starter.mutex.Unlock()
	r.starter.runs = append(r.starter.runs, "-"+r.uid)
	_ = r.namespace.Close()
}

func (r *running) Drain(context.Context) { r.Stop() }

func (s *starter) set(fail error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.fail = fail
}

func (s *starter) seen() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return strings.Join(s.runs, " ")
}

func connect(t *testing.T, n *node) (*starter, *Manager) {
	t.Helper()
	s := &starter{}
	manager := NewManager(s.start, nil, quiet)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		(&Client{Path: n.path, Receiver: manager, Log: quiet}).Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return s, manager
}

func descriptor(t *testing.T, namespace *sockets.Namespace) int {
	t.Helper()
	fd, err := namespace.Duplicate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func want(t *testing.T, what, got, expected string) {
	t.Helper()
	if got != expected {
		t.Errorf("%s: %q, want %q", what, got, expected)
	}
}

func TestPodsOfSnapshotsAndUpdates(t *testing.T) {
	network := nettest.New(t)
	first, second := network.Pod(nettest.Options{NoRules: true}), network.Pod(nettest.Options{NoRules: true})
	one, two := descriptor(t, first.Namespace), descriptor(t, second.Namespace)
	n := newNode(t)
	s, manager := connect(t, n)
	c := n.accept()
	want(t, "pending before the snapshot", strings.Join(manager.Pending(), ";"), "the pods of istio-cni")
	want(t, "add", send(t, c, adding("a", "web"), one), "")
	want(t, "keep of an unknown pod", send(t, c, keeping("x")), "")
	want(t, "add", send(t, c, adding("b", "web"), two), "")
	want(t, "snapshot", send(t, c, snapshotSent), "")
	want(t, "pending", strings.Join(manager.Pending(), ";"), "")
	want(t, "the same again", send(t, c, adding("a", "web"), one), "")
	want(t, "runs", s.seen(), "+a +b")
	want(t, "another namespace", send(t, c, adding("a", "web"), two), "")
	want(t, "runs", s.seen(), "+a +b -a +a")
	want(t, "another account", send(t, c, adding("a", "admin"), two), "")
	want(t, "delete", send(t, c, deleting("b")), "")
	want(t, "delete of an unknown pod", send(t, c, deleting("b")), "")
	want(t, "runs", s.seen(), "+a +b -a +a -a +a -b")
	// istio-cni restarts: a is kept without a start, c is new, what is not named is stopped at the end of the snapshot.
	want(t, "add", send(t, c, adding("d", "web"), one), "")
	_ = c.Close()
	c = n.accept()
	want(t, "keep", send(t, c, keeping("a")), "")
	want(t, "add", send(t, c, adding("c", "web"), one), "")
	want(t, "runs", s.seen(), "+a +b -a +a -a +a -b +d +c")
	want(t, "snapshot", send(t, c, snapshotSent), "")
	want(t, "runs", s.seen(), "+a +b -a +a -a +a -b +d +c -d")
}

func TestFailedPodIsTriedAgain(t *testing.T) {
	network := nettest.New(t)
	fd := descriptor(t, network.Pod(nettest.Options{NoRules: true}).Namespace)
	n := newNode(t)
	s, manager := connect(t, n)
	s.set(errors.New("port is taken"))
	c := n.accept()
	want(t, "add", send(t, c, adding("a", "web"), fd), "port is taken")
	want(t, "add", send(t, c, adding("b", "web"), fd), "port is taken")
	want(t, "snapshot", send(t, c, snapshotSent), "")
	want(t, "pending", strings.Join(manager.Pending(), ";"), "pod shop/pod-a;pod shop/pod-b")
	want(t, "delete", send(t, c, deleting("b")), "")
	s.set(nil)
	nettest.Until(t, "the pod is started", func() bool { return len(manager.Pending()) == 0 })
	want(t, "runs", s.seen(), "+a")
}

func TestWrongMessagesAreRefused(t *testing.T) {
	network := nettest.New(t)
	fd := descriptor(t, network.Pod(nettest.Options{NoRules: true}).Namespace)
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	n := newNode(t)
	s, _ := connect(t, n)
	c := n.accept()
	noInfo := &zdsapi.WorkloadRequest{Payload: &zdsapi.WorkloadRequest_Add{Add: &zdsapi.AddWorkload{Uid: "a"}}}
	for name, ack := range map[string]string{
		"delete with a descriptor":  send(t, c, deleting("a"), fd),
		"keep with a descriptor":    send(t, c, keeping("a"), fd),
		"add without a descriptor":  send(t, c, adding("a", "web")),
		"add with two":              send(t, c, adding("a", "web"), fd, fd),
		"add of another descriptor": send(t, c, adding("a", "web"), null),
		"add without information":   send(t, c, noInfo, fd),
		"add without an account":    send(t, c, adding("a", ""), fd),
		"add without a uid":         send(t, c, adding("", "web"), fd),
		"nothing":                   send(t, c, &zdsapi.WorkloadRequest{Payload: nil}, fd),
		"noise":                     sendRaw(t, c, []byte("\xff\xff\xff"), fd),
	} {
		if ack == "" {
			t.Errorf("%s was accepted", name)
		}
	}
	want(t, "runs", s.seen(), "")
}

// slow answers too late.
type slow struct{ *Manager }

func (s slow) Handle(m Message) error {
	err := s.Manager.Handle(m)
	time.Sleep(30 * time.Millisecond)
	return err
}

func TestLateAnswerIsNotSent(t *testing.T) {
	before := latest
	latest = 10 * time.Millisecond
	defer func() { latest = before }()
	n := newNode(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		(&Client{Path: n.path, Receiver: slow{NewManager((&starter{}).start, nil, quiet)}, Log: quiet}).Run(ctx)
	}()
	defer func() { cancel(); <-done }()
	c := n.accept()
	data, err := proto.Marshal(deleting("a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(data); err != nil {
		t.Fatal(err)
	}
	if size, err := c.Read(make([]byte, 10)); !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes, %v, where the connection should be closed", size, err)
	}
	n.accept()
}

func TestReconnectsWhenIstioCNIComesLate(t *testing.T) {
	n := newNode(t)
	_ = n.listener.Close() // removes the socket
	_, manager := connect(t, n)
	n.listen()
	c := n.accept()
	want(t, "snapshot", send(t, c, snapshotSent), "")
	if pending := manager.Pending(); len(pending) != 0 {
		t.Error(pending)
	}
	_ = c.Close()
	nettest.Until(t, "the loss is noticed", func() bool { return slices.Contains(manager.Pending(), "the pods of istio-cni") })
}

func FuzzDecode(f *testing.F) {
	for _, request := range []*zdsapi.WorkloadRequest{adding("a", "web"), keeping("a"), deleting("a"), snapshotSent} {
		data, err := proto.Marshal(request)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, 0)
		f.Add(data, 1)
	}
	f.Fuzz(func(t *testing.T, data []byte, count int) {
		var fds []int
		for range count & 3 {
			fd, err := unix.Open("/proc/self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			fds = append(fds, fd)
		}
		message, err := decode(data, slices.Clone(fds))
		if err == nil && (message.Kind == Add) != (message.Namespace != nil) {
			t.Errorf("%+v", message)
		}
		if message.Namespace != nil {
			if err := message.Namespace.Close(); err != nil {
				t.Error(err)
			}
		}
		for _, fd := range fds {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				t.Error(fmt.Sprintf("descriptor %d is still open", fd))
			}
		}
	})
}

// A message with more descriptors than there is room for is cut by the kernel: nothing of it is used, nothing of it stays open.
func TestMessageThatIsCut(t *testing.T) {
	network := nettest.New(t)
	fd := descriptor(t, network.Pod(nettest.Options{NoRules: true}).Namespace)
	n := newNode(t)
	s, _ := connect(t, n)
	c := n.accept()
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := open()
	data, err := proto.Marshal(adding("a", "web"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.WriteMsgUnix(data, unix.UnixRights(slices.Repeat([]int{fd}, 20)...), nil); err != nil {
		t.Fatal(err)
	}
	if size, err := c.Read(make([]byte, maximum)); size > 0 || err == nil {
		t.Errorf("%d bytes of an answer, %v", size, err)
	}
	_ = c.Close()
	n.accept() // the connection is made anew
	want(t, "runs", s.seen(), "")
	nettest.Until(t, "no descriptor stays open", func() bool { return open() <= before })
}

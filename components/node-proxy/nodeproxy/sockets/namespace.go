package sockets

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrNamespaceClosed says that the pod is gone.
var ErrNamespaceClosed = errors.New("the pod's network namespace is released")

// Namespace is a network namespace, held open by a descriptor of its own.
type Namespace struct {
	mutex  sync.RWMutex
	fd     int // -1 once closed
	device uint64
	inode  uint64
}

// OpenNamespace opens a namespace by its path.
func OpenNamespace(path string) (*Namespace, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return NewNamespace(fd)
}

// NewNamespace takes over a descriptor of a network namespace, and closes it when it is none.
func NewNamespace(fd int) (*Namespace, error) {
	// NS_GET_NSTYPE, so that no other descriptor that a message may carry is taken for a pod.
	kind, err := unix.IoctlRetInt(fd, 0xb703)
	if err != nil || kind != unix.CLONE_NEWNET {
		return nil, errors.Join(fmt.Errorf("descriptor %d is no network namespace", fd), err, unix.Close(fd))
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &Namespace{fd: fd, device: uint64(stat.Dev), inode: stat.Ino}, nil
}

// Same tells whether two descriptors hold one namespace.
func (n *Namespace) Same(other *Namespace) bool {
	return n.device == other.device && n.inode == other.inode
}

// Inode identifies the namespace on this machine.
func (n *Namespace) Inode() uint64 { return n.inode }

// Path calls use with a path of the namespace that is valid in this process for the time of the call.
func (n *Namespace) Path(use func(path string)) error {
	n.mutex.RLock()
	defer n.mutex.RUnlock()
	if n.fd < 0 {
		return ErrNamespaceClosed
	}
	use(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.fd))
	return nil
}

// Duplicate returns a second descriptor of the namespace, for whoever closes it.
func (n *Namespace) Duplicate() (int, error) {
	n.mutex.RLock()
	defer n.mutex.RUnlock()
	if n.fd < 0 {
		return -1, ErrNamespaceClosed
	}
	return unix.FcntlInt(uintptr(n.fd), unix.F_DUPFD_CLOEXEC, 3)
}

// Close releases the descriptor; sockets that were made before keep the namespace until they are closed.
func (n *Namespace) Close() error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.fd < 0 {
		return nil
	}
	fd := n.fd
	n.fd = -1
	return unix.Close(fd)
}

// socket creates a socket in the namespace.
func (n *Namespace) socket(domain, kind, protocol int) (int, error) {
	fd := -1
	err := n.Do(func() (err error) {
		fd, err = unix.Socket(domain, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
		return err
	})
	return fd, err
}

// entering bounds the threads that are in pods' namespaces at once: the runtime keeps every thread that it ever made, and ends the
// process when there are too many. An entry takes microseconds.
var entering = make(chan struct{}, 32)

// Do calls do on a thread that is in the namespace, and only while do runs. It must not start goroutines or block.
func (n *Namespace) Do(do func() error) error {
	n.mutex.RLock()
	defer n.mutex.RUnlock()
	if n.fd < 0 {
		return ErrNamespaceClosed
	}
	entering <- struct{}{}
	defer func() { <-entering }()
	result := make(chan error, 1)
	// A goroutine of its own: if the thread cannot return, it ends with the goroutine and no other one ever runs on it.
	go func() { result <- enter(n.fd, do) }()
	return <-result
}

func enter(fd int, do func() error) error {
	runtime.LockOSThread()
	own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("the thread's own network namespace: %w", err)
	}
	defer func() { _ = unix.Close(own) }() // read only: nothing can be lost
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("entering the pod's network namespace: %w", err)
	}
	err = do()
	if back := unix.Setns(own, unix.CLONE_NEWNET); back != nil {
		// Still locked: the thread dies with this goroutine.
		return errors.Join(err, fmt.Errorf("leaving the pod's network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

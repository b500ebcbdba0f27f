package copying

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	smallBuffer = 2 << 10  // held by a stream that waits
	largeBuffer = 32 << 10 // lent while bytes flow
	spliceLimit = 1 << 20  // moved by the kernel before the counters are told
)

var errNotConnected error = unix.ENOTCONN

var buffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// TCP is an End of a TCP connection.
type TCP struct{ *net.TCPConn }

// Abort resets the connection.
func (t TCP) Abort() {
	// After a reset nothing of the connection is left that an error could be about.
	_ = t.SetLinger(0)
	_ = t.Close()
}

// pump copies one direction and returns the error of the side that failed, none after the end of data.
func pump(from, to End, moved func(int64)) (read, write error) {
	source, ok := from.(TCP)
	if !ok {
		return pumpStream(from, to, moved)
	}
	raw, err := source.SyscallConn()
	if err != nil {
		return err, nil
	}
	target, toTCP := to.(TCP)
	for {
		n, full, readErr, writeErr := move(raw, to, moved)
		switch {
		case writeErr != nil:
			return nil, writeErr
		case readErr != nil:
			return readErr, nil
		case n == 0:
			return nil, nil
		case !full || !toTCP:
			continue
		}
		if read, write := splice(source, target, raw, moved); read != nil || write != nil {
			return read, write
		}
	}
}

// move waits until there is something to read, and only then borrows a buffer for it.
func move(raw syscall.RawConn, to io.Writer, moved func(int64)) (n int, full bool, read, write error) {
	var buffer *[largeBuffer]byte
	var received error
	err := raw.Read(func(fd uintptr) bool {
		buffer = buffers.Get().(*[largeBuffer]byte)
		for {
			n, _, received = unix.Recvfrom(int(fd), buffer[:], unix.MSG_DONTWAIT)
			if received != unix.EINTR {
				break
			}
		}
		if received != unix.EAGAIN {
			return true
		}
		buffers.Put(buffer)
		buffer = nil
		return false
	})
	if buffer != nil {
		defer buffers.Put(buffer)
	}
	if err == nil {
		err = received
	}
	if err != nil {
		return 0, false, err, nil
	}
	if n <= 0 {
		return 0, false, nil, nil
	}
	if _, err := to.Write(buffer[:n]); err != nil {
		return n, false, nil, err
	}
	moved(int64(n))
	return n, n == len(buffer), nil, nil
}

// splice lets the kernel move what waits already, as long as that is much: an idle connection holds no pipe.
func splice(from, to TCP, raw syscall.RawConn, moved func(int64)) (read, write error) {
	for {
		waiting := 0
		var asked error
		if err := raw.Control(func(fd uintptr) { waiting, asked = unix.IoctlGetInt(int(fd), unix.SIOCINQ) }); err != nil {
			return err, nil
		}
		if asked != nil || waiting < largeBuffer {
			return nil, nil // too little, or an error that the next read tells
		}
		limited := &io.LimitedReader{R: from.TCPConn, N: int64(min(waiting, spliceLimit))}
		n, err := to.ReadFrom(limited)
		moved(n)
		if err != nil {
			// Which side failed is not told apart here. If it was the source, its next read fails as well.
			return nil, err
		}
		if n == 0 {
			return nil, nil
		}
	}
}

// pumpStream reads with a small buffer while little comes, and with a large one while it is filled.
func pumpStream(from io.Reader, to io.Writer, moved func(int64)) (read, write error) {
	var small [smallBuffer]byte
	large := false
	for {
		var lent *[largeBuffer]byte
		buffer := small[:]
		if large {
			lent = buffers.Get().(*[largeBuffer]byte)
			buffer = lent[:]
		}
		n, err := from.Read(buffer)
		large = n >= smallBuffer
		if n > 0 {
			if _, failed := to.Write(buffer[:n]); failed != nil {
				write = failed
			} else {
				moved(int64(n))
			}
		}
		if lent != nil {
			buffers.Put(lent)
		}
		switch {
		case write != nil:
			return nil, write
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil:
			return err, nil
		}
	}
}

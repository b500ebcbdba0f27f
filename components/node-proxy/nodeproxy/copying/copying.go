// Package copying moves bytes between the two ends of a connection that the proxy stands in: both directions at once, each with
// its own end of data, as fast as the slower side takes them, without a buffer for what is idle.
package copying

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// End is one side: a TCP connection, or a stream of a tunnel.
type End interface {
	io.ReadWriter
	// CloseWrite tells the peer that no more data comes.
	CloseWrite() error
	// Close ends both directions in order.
	Close() error
	// Abort ends both directions so that the peer sees an error.
	Abort()
}

// Limits bound how long nothing may happen.
type Limits struct {
	// Idle bounds the time without a byte while both directions are open; zero for no bound.
	Idle time.Duration
	// HalfClosed bounds the time without a byte after one direction has ended: a peer that never closes would hold it for ever.
	HalfClosed time.Duration
	// Broken bounds how long the rest is read from a side that takes no more.
	Broken time.Duration
}

// DefaultLimits leave alone what applications do with silent connections (pools, LISTEN of PostgreSQL).
var DefaultLimits = Limits{Idle: 24 * time.Hour, HalfClosed: 10 * time.Minute, Broken: 5 * time.Second}

// Errors that Run itself makes.
var (
	ErrIdle   = errors.New("no byte moved within the idle time")
	ErrClosed = errors.New("the connection was closed by the proxy")
)

// Connection copies between the side that opened the connection and the one that was dialled.
type Connection struct {
	source, destination End
	limits              Limits
	sent, received      atomic.Uint64
	last                atomic.Int64 // when a byte moved, in nanoseconds since began
	began               time.Time
	halfClosed          atomic.Bool
	closing             sync.Once
	mutex               sync.Mutex
	cause               error
	first               *finished
	timer, rest         *time.Timer
}

// New prepares a connection; nothing moves before Run.
func New(source, destination End, limits Limits) *Connection {
	return &Connection{source: source, destination: destination, limits: limits, began: time.Now()}
}

// Sent and Received count the bytes to and from the destination so far.
func (c *Connection) Sent() uint64     { return c.sent.Load() }
func (c *Connection) Received() uint64 { return c.received.Load() }

type finished struct {
	read, write error // at most one is set; none is a clean end of data
}

// Run copies until both directions have ended, and closes both ends. It returns why the connection broke, nil after two clean ends.
func (c *Connection) Run() error {
	c.watch()
	other := make(chan struct{})
	go func() {
		defer close(other)
		c.conclude(c.direction(c.destination, c.source, &c.received))
	}()
	c.conclude(c.direction(c.source, c.destination, &c.sent))
	<-other
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, timer := range []*time.Timer{c.timer, c.rest} {
		if timer != nil {
			timer.Stop()
		}
	}
	return c.cause
}

// conclude is called by each direction at its end.
func (c *Connection) conclude(own finished) {
	c.mutex.Lock()
	first := c.first
	if first == nil {
		c.first = &own
		if own.write != nil {
			// The receiver takes no more, but what it has sent before may still be on its way to the sender.
			c.rest = time.AfterFunc(c.limits.Broken, func() { c.abort(own.write) })
		}
	}
	c.mutex.Unlock()
	switch {
	case own.read != nil:
		// What the peer cut off must not look like the end of its data.
		c.abort(own.read)
	case first == nil:
		// The other direction goes on.
	case own.write != nil:
		c.abort(own.write)
	default:
		// Also after a failed write of the other direction: as if the two were connected, the sender has seen a clean end, and sees
		// errors when it goes on sending.
		c.close()
	}
}

// direction copies until the end of data or an error.
func (c *Connection) direction(from, to End, count *atomic.Uint64) finished {
	moved := func(n int64) {
		count.Add(uint64(n))
		c.last.Store(int64(time.Since(c.began)))
	}
	read, write := pump(from, to, moved)
	result := finished{read: read, write: write}
	if read == nil && write == nil {
		c.halfClosed.Store(true)
		c.last.Store(int64(time.Since(c.began)))
		c.watch()
		if err := to.CloseWrite(); err != nil && !gone(err) {
			result.write = err
		}
	}
	return result
}

// gone tells whether an error of CloseWrite only says that the peer had closed before.
func gone(err error) bool { return errors.Is(err, errNotConnected) || errors.Is(err, net.ErrClosed) }

// Cut ends the connection at once; both peers see an error.
func (c *Connection) Cut(why error) { c.abort(why) }

func (c *Connection) abort(why error) {
	c.closing.Do(func() {
		c.mutex.Lock()
		c.cause = why
		c.mutex.Unlock()
		c.source.Abort()
		c.destination.Abort()
	})
}

func (c *Connection) close() {
	c.closing.Do(func() {
		// Both directions have ended: there is nothing left to lose.
		_ = c.source.Close()
		_ = c.destination.Close()
	})
}

// watch sets the timer of the bound that holds now.
func (c *Connection) watch() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
	bound := c.bound()
	if bound <= 0 {
		return
	}
	c.timer = time.AfterFunc(bound, c.expire)
}

func (c *Connection) bound() time.Duration {
	if c.halfClosed.Load() {
		return c.limits.HalfClosed
	}
	return c.limits.Idle
}

func (c *Connection) expire() {
	bound := c.bound()
	if bound <= 0 {
		return
	}
	silent := time.Since(c.began) - time.Duration(c.last.Load())
	if silent >= bound {
		c.abort(ErrIdle)
		return
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.timer.Reset(bound - silent)
}

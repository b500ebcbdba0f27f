package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Key says which connections may be shared: those of one pod with one identity to one peer of the same accepted identities. The pod
// is part of it because the socket lives in that pod's network namespace.
type Key struct {
	Pod      string
	Identity string
	Gateway  netip.AddrPort
	accepted string
}

// Destination is what to open a stream to.
type Destination struct {
	Key       Key
	Accepted  []string
	Authority netip.AddrPort
	Dial      func(ctx context.Context) (net.Conn, error)
	TLS       func(ctx context.Context) (*tls.Config, error)
}

// Pool shares connections between streams. A dial blocks only streams of its own key.
type Pool struct {
	mutex  sync.Mutex
	groups map[Key]*group
	closed bool
}

type group struct {
	connections []*connection
	dialling    *dialling
}

type dialling struct {
	done chan struct{}
	err  error
}

type connection struct {
	client *http.ClientConn
	active int
	dead   bool // takes no more streams
	idle   *time.Timer
	until  time.Time // the end of the certificate that ends first, of both sides
}

// ending is the time before the end of a certificate in which a connection takes no more streams: both sides have newer ones by then,
// and the peer's clock may be ahead.
const ending = time.Minute

func (c *connection) old() bool { return !time.Now().Before(c.until.Add(-ending)) }

// NewPool makes an empty pool.
func NewPool() *Pool { return &Pool{groups: map[Key]*group{}} }

// Open opens a stream; the context bounds the opening only. The state is that of the peer's TLS.
func (p *Pool) Open(ctx context.Context, to Destination) (Stream, *tls.ConnectionState, error) {
	if len(to.Accepted) == 0 {
		return nil, nil, errors.New("no identity would be accepted from the peer")
	}
	accepted := slices.Clone(to.Accepted)
	slices.Sort(accepted)
	to.Key.accepted = strings.Join(accepted, " ")
	for {
		c, fresh, err := p.acquire(ctx, to)
		if err != nil {
			return nil, nil, err
		}
		stream, state, err := p.connect(ctx, c, to)
		var refused *StatusError
		if err == nil || errors.As(err, &refused) {
			return stream, state, err
		}
		// The connection is broken, or its peer refused our certificate: TLS 1.3 tells so at the first request only.
		p.retire(to.Key, c)
		if fresh || ctx.Err() != nil {
			return nil, nil, err
		}
		// No byte of the application was sent, and the connection had been idle: another one may work.
	}
}

// acquire reserves a stream on a connection; fresh tells that the connection was made for it.
func (p *Pool) acquire(ctx context.Context, to Destination) (c *connection, fresh bool, err error) {
	for {
		p.mutex.Lock()
		if p.closed {
			p.mutex.Unlock()
			return nil, false, ErrClosed
		}
		g := p.groups[to.Key]
		if g == nil {
			g = &group{}
			p.groups[to.Key] = g
		}
		if c := p.take(to.Key, g); c != nil {
			p.mutex.Unlock()
			return c, false, nil
		}
		if d := g.dialling; d != nil {
			p.mutex.Unlock()
			select {
			case <-d.done:
				if d.err != nil {
					return nil, false, d.err
				}
			case <-ctx.Done():
				return nil, false, ctx.Err()
			}
			continue
		}
		d := &dialling{done: make(chan struct{})}
		g.dialling = d
		p.mutex.Unlock()
		client, until, err := dial(ctx, to)
		p.mutex.Lock()
		g.dialling = nil
		if err == nil && (p.closed || p.groups[to.Key] != g) {
			err = errors.Join(ErrClosed, client.Close())
		}
		var c *connection
		if err == nil {
			if refused := client.Reserve(); refused != nil {
				// The peer has closed it already, as one does that refuses our certificate.
				err = errors.Join(fmt.Errorf("the peer closed the connection: %w", refused), client.Close())
			}
		}
		if err == nil {
			c = &connection{client: client, active: 1, until: until}
			g.connections = append(g.connections, c)
		} else if len(g.connections) == 0 && p.groups[to.Key] == g {
			delete(p.groups, to.Key)
		}
		d.err = err
		close(d.done)
		p.mutex.Unlock()
		return c, err == nil, err
	}
}

// take reserves a stream on a connection that has room, and lets go of those that are broken.
func (p *Pool) take(key Key, g *group) *connection {
	for _, c := range slices.Clone(g.connections) {
		if c.old() {
			p.drop(key, c)
			continue
		}
		if c.active >= streams {
			continue
		}
		if c.client.Reserve() != nil {
			if c.client.Err() != nil {
				p.drop(key, c)
			}
			continue
		}
		c.active++
		if c.idle != nil {
			c.idle.Stop()
		}
		return c
	}
	return nil
}

// dial connects, and returns when the first of both sides' certificates ends.
func dial(ctx context.Context, to Destination) (*http.ClientConn, time.Time, error) {
	config, err := to.TLS(ctx)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("no certificate: %w", err)
	}
	if config.VerifyConnection == nil {
		return nil, time.Time{}, errors.New("TLS settings that do not verify the peer")
	}
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	var ends expiry
	ends.watch(config)
	transport := &http.Transport{
		Protocols: protocols(), HTTP2: settings(), TLSClientConfig: config, TLSHandshakeTimeout: handshakeTimeout,
		MaxResponseHeaderBytes: largestHeader, DisableCompression: true, // the bytes are the application's
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return to.Dial(ctx) },
	}
	client, err := transport.NewClientConn(ctx, "https", to.Key.Gateway.String())
	if err != nil {
		return nil, time.Time{}, err
	}
	return client, ends.first(), nil
}

// connect asks for the stream.
func (p *Pool) connect(ctx context.Context, c *connection, to Destination) (Stream, *tls.ConnectionState, error) {
	lifetime, cancel := context.WithCancel(context.WithoutCancel(ctx))
	opening := context.AfterFunc(ctx, cancel)
	reader, writer := io.Pipe()
	request := &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: to.Key.Gateway.String()}, Host: to.Authority.String(),
		Header: http.Header{}, Body: reader, ContentLength: -1,
	}
	release := sync.OnceFunc(func() {
		cancel()
		p.release(to.Key, c)
	})
	response, err := c.client.RoundTrip(request.WithContext(lifetime))
	if !opening() && err == nil {
		err = errors.Join(context.Cause(ctx), response.Body.Close())
	}
	if err != nil {
		_ = writer.CloseWithError(err) // never fails
		release()
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer of the peer: %w", ctx.Err())
		}
		return nil, nil, err
	}
	if response.StatusCode != http.StatusOK {
		_ = writer.CloseWithError(ErrClosed)
		err := errors.Join(&StatusError{response.StatusCode}, response.Body.Close())
		release()
		return nil, nil, err
	}
	return &clientStream{body: response.Body, writer: writer, cancel: cancel, release: release}, response.TLS, nil
}

func (p *Pool) release(key Key, c *connection) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	c.active--
	if c.active > 0 {
		return
	}
	if c.dead {
		_ = c.client.Close() // nothing runs on it
		return
	}
	if c.client.Err() != nil {
		p.drop(key, c)
		return
	}
	c.idle = time.AfterFunc(idleTimeout, func() {
		p.mutex.Lock()
		defer p.mutex.Unlock()
		if c.active == 0 && !c.dead {
			p.drop(key, c)
		}
	})
}

// retire lets no more streams onto a connection; it is closed after its last one.
func (p *Pool) retire(key Key, c *connection) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if !c.dead {
		p.drop(key, c)
	}
}

func (p *Pool) drop(key Key, c *connection) {
	c.dead = true
	if c.idle != nil {
		c.idle.Stop()
	}
	if g := p.groups[key]; g != nil {
		g.connections = slices.DeleteFunc(g.connections, func(other *connection) bool { return other == c })
	}
	if c.active == 0 {
		_ = c.client.Close() // nothing runs on it
	}
}

// Retire lets no more streams onto the connections that the function names: their peer is gone, or is no longer what it was.
func (p *Pool) Retire(which func(Key) bool) {
	p.mutex.Lock()
	keys := slices.Collect(maps.Keys(p.groups))
	p.mutex.Unlock()
	gone := map[Key]bool{} // asked without the lock: streams go on being opened meanwhile
	for _, key := range keys {
		if which(key) {
			gone[key] = true
		}
	}
	if len(gone) > 0 {
		p.end(func(key Key) bool { return gone[key] }, false)
	}
}

// ClosePod ends all connections of a pod at once.
func (p *Pool) ClosePod(pod string) { p.end(func(key Key) bool { return key.Pod == pod }, true) }

// Close ends everything.
func (p *Pool) Close() {
	p.mutex.Lock()
	p.closed = true
	p.mutex.Unlock()
	p.end(func(Key) bool { return true }, true)
}

func (p *Pool) end(which func(Key) bool, now bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for key, g := range p.groups {
		if !which(key) {
			continue
		}
		delete(p.groups, key)
		for _, c := range g.connections {
			c.dead = true
			if c.idle != nil {
				c.idle.Stop()
			}
			if now || c.active == 0 {
				_ = c.client.Close() // its streams see the error
			}
		}
	}
}

// Size counts the connections.
func (p *Pool) Size() int {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	size := 0
	for _, g := range p.groups {
		size += len(g.connections)
	}
	return size
}

type clientStream struct {
	body    io.ReadCloser
	writer  *io.PipeWriter
	cancel  context.CancelFunc
	release func()
}

func (s *clientStream) Read(b []byte) (int, error)  { return s.body.Read(b) }
func (s *clientStream) Write(b []byte) (int, error) { return s.writer.Write(b) }
func (s *clientStream) CloseWrite() error           { return s.writer.Close() }

func (s *clientStream) Close() error {
	err := errors.Join(s.writer.Close(), s.body.Close())
	s.release()
	return err
}

func (s *clientStream) Abort() {
	s.cancel() // RST_STREAM
	_ = s.writer.CloseWithError(ErrClosed)
	_ = s.body.Close() // the stream is reset already
	s.release()
}

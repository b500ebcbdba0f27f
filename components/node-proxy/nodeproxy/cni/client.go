package cni

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"istio.io/istio/pkg/zdsapi"
)

const (
	helloTimeout = 3 * time.Second
	firstRetry   = 10 * time.Millisecond
	longestRetry = 15 * time.Second
)

// latest is the age at which an answer may still be sent: istio-cni gives up after 5 s, and takes a later one for the answer to
// its next message. A variable for tests.
var latest = 3 * time.Second

// Receiver does what the messages say. Its methods answer within milliseconds.
type Receiver interface {
	// Connected begins a new snapshot.
	Connected()
	// Handle does one message. An error is told to istio-cni, which tells the container runtime.
	Handle(Message) error
	// Disconnected says that istio-cni is away.
	Disconnected()
}

// Client keeps a connection to istio-cni.
type Client struct {
	Path     string
	Receiver Receiver
	Log      *slog.Logger
}

// Run connects, again and again, until the context ends.
func (c *Client) Run(ctx context.Context) {
	pause := firstRetry
	for ctx.Err() == nil {
		worked, err := c.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if worked {
			pause = firstRetry
		}
		c.Log.Warn("istio-cni is away", "error", err, "retry", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, longestRetry)
	}
}

// session serves one connection; worked tells whether istio-cni has sent anything.
func (c *Client) session(ctx context.Context) (worked bool, err error) {
	connection, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: c.Path})
	if err != nil {
		return false, err
	}
	closed := context.AfterFunc(ctx, func() { _ = connection.Close() }) // only to end the read below
	defer func() {
		if closed() {
			err = errors.Join(err, connection.Close())
		}
	}()
	c.Receiver.Connected()
	defer c.Receiver.Disconnected()
	hello, err := proto.Marshal(&zdsapi.ZdsHello{Version: zdsapi.Version_V1})
	if err != nil {
		return false, err
	}
	if err := connection.SetWriteDeadline(time.Now().Add(helloTimeout)); err != nil {
		return false, err
	}
	if _, err := connection.Write(hello); err != nil {
		return false, fmt.Errorf("hello: %w", err)
	}
	for {
		if err := c.one(connection); err != nil {
			return worked, err
		}
		worked = true
	}
}

// one receives a message and answers it.
func (c *Client) one(connection *net.UnixConn) error {
	data := make([]byte, maximum)
	control := make([]byte, unix.CmsgSpace(8*4))
	n, controls, flags, _, err := connection.ReadMsgUnix(data, control)
	if err != nil {
		return err
	}
	arrived := time.Now()
	descriptors, err := received(control[:controls])
	if err != nil {
		return err
	}
	if n == 0 && controls == 0 {
		return errors.New("istio-cni closed the connection")
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return errors.Join(errors.New("a message that is longer than the protocol allows"), closeAll(descriptors))
	}
	message, handled := decode(data[:n], descriptors)
	if handled == nil {
		handled = c.Receiver.Handle(message)
	}
	if handled != nil {
		c.Log.Error("a message of istio-cni was refused", "uid", message.Pod.UID, "error", handled)
	}
	if age := time.Since(arrived); age > latest {
		return fmt.Errorf("the answer took %v: sent now it would be taken for that of the next message", age)
	}
	text, err := answer(handled)
	if err != nil {
		return err
	}
	if err := connection.SetWriteDeadline(arrived.Add(latest)); err != nil {
		return err
	}
	_, err = connection.Write(text)
	return err
}

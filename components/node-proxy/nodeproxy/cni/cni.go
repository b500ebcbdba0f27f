// Package cni speaks ZDS with istio-cni: which pods of this node the proxy serves, each with its network namespace. istio-cni sends
// one message at a time and takes the next answer for that message's, so every answer must be quick and none may be late.
package cni

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"istio.io/istio/pkg/zdsapi"

	"bookstore.platform/istio/nodeproxy/mesh"
	"bookstore.platform/istio/nodeproxy/sockets"
)

// Socket is where istio-cni listens.
const Socket = "/var/run/ztunnel/ztunnel.sock"

// maximum of a message, as the protocol has it; what is longer is refused.
const maximum = 1024

// Kind says what a message is.
type Kind int

// The messages of istio-cni.
const (
	Add Kind = iota + 1
	Keep
	Delete
	Snapshot
)

// Message is a request of istio-cni; a Namespace comes with Add only.
type Message struct {
	Kind      Kind
	Pod       mesh.Pod // of Keep and Delete the UID only
	Namespace *sockets.Namespace
}

// decode reads a message and takes over its descriptors; after an error they are closed.
func decode(data []byte, descriptors []int) (message Message, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(descriptors))
		}
	}()
	request := &zdsapi.WorkloadRequest{}
	if err := proto.Unmarshal(data, request); err != nil {
		return Message{}, fmt.Errorf("a message that cannot be read: %w", err)
	}
	wanted := 0
	switch payload := request.GetPayload().(type) {
	case *zdsapi.WorkloadRequest_Add:
		wanted = 1
		workload := payload.Add.GetWorkloadInfo()
		if workload == nil {
			return Message{}, errors.New("add without workload_info")
		}
		message = Message{Kind: Add, Pod: mesh.Pod{UID: payload.Add.GetUid(), Name: workload.GetName(), Namespace: workload.GetNamespace(),
			ServiceAccount: workload.GetServiceAccount()}}
		if message.Pod.Name == "" || message.Pod.Namespace == "" || message.Pod.ServiceAccount == "" {
			return Message{}, errors.New("add without the pod's name, namespace or service account")
		}
	case *zdsapi.WorkloadRequest_Keep:
		message = Message{Kind: Keep, Pod: mesh.Pod{UID: payload.Keep.GetUid()}}
	case *zdsapi.WorkloadRequest_Del:
		message = Message{Kind: Delete, Pod: mesh.Pod{UID: payload.Del.GetUid()}}
	case *zdsapi.WorkloadRequest_SnapshotSent:
		message = Message{Kind: Snapshot}
	default:
		return Message{}, errors.New("a message of an unknown kind")
	}
	if message.Kind != Snapshot && message.Pod.UID == "" {
		return Message{}, errors.New("a message without the pod's uid")
	}
	if len(descriptors) != wanted {
		return Message{}, fmt.Errorf("%d file descriptors where %d belong to the message", len(descriptors), wanted)
	}
	if wanted == 0 {
		return message, nil
	}
	fd := descriptors[0]
	descriptors = nil // NewNamespace closes it
	message.Namespace, err = sockets.NewNamespace(fd)
	return message, err
}

func closeAll(descriptors []int) error {
	var result error
	for _, fd := range descriptors {
		result = errors.Join(result, unix.Close(fd))
	}
	return result
}

// received returns the descriptors of a control message.
func received(control []byte) (descriptors []int, err error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		rights, failed := unix.ParseUnixRights(&messages[i])
		if failed != nil {
			return nil, errors.Join(failed, closeAll(descriptors))
		}
		descriptors = append(descriptors, rights...)
	}
	return descriptors, nil
}

func answer(failed error) ([]byte, error) {
	ack := &zdsapi.Ack{}
	if failed != nil {
		ack.Error = failed.Error()
		if len(ack.Error) > maximum/2 {
			ack.Error = ack.Error[:maximum/2]
		}
	}
	return proto.Marshal(&zdsapi.WorkloadResponse{Payload: &zdsapi.WorkloadResponse_Ack{Ack: ack}})
}

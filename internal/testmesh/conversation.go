//go:build linux

package testmesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/testnet"
)

// A conversation carries numbers there and back.
type conversation interface {
	say(n uint64) error
	hear() (uint64, error)
	close()
}

// conversations keeps one going.
func (c *counter) conversations(ctx context.Context, open func() (conversation, error)) {
	for ctx.Err() == nil {
		began := c.began()
		talk, err := open()
		if err != nil {
			c.ended(ctx, began, fmt.Errorf("open: %w", err))
		} else {
			c.converse(ctx, talk)
			talk.close()
		}
		select {
		case <-time.After(mixedAgain):
		case <-ctx.Done():
		}
	}
}

// converse ends with the first number that does not come back in its turn.
func (c *counter) converse(ctx context.Context, talk conversation) {
	next := uint64(0)
	paced(ctx, func() bool {
		next++
		began := c.began()
		late := time.AfterFunc(mixedWait, talk.close)
		defer late.Stop()
		err := talk.say(next)
		if err == nil {
			var got uint64
			if got, err = talk.hear(); err == nil && got != next {
				err = fmt.Errorf("out of order: number %d came back instead of %d", got, next)
			}
		}
		c.ended(ctx, began, err)
		return err == nil
	})
}

// ServeMixed answers a mixed load on a host until the test ends. The address
// is where the workload of either target listens.
func ServeMixed(t testing.TB, h *testnet.Host, listen string) {
	t.Helper()
	numbers := grpc.NewServer()
	numbers.RegisterService(&echoService, nil)
	socket := websocket.Server{Handler: func(ws *websocket.Conn) {
		_, _ = io.Copy(ws, ws) // ends with the caller
	}}
	Serve(t, h, listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.ProtoMajor == 2 && r.Header.Get("Content-Type") == "application/grpc":
			numbers.ServeHTTP(w, r)
		case r.URL.Path == "/socket":
			socket.ServeHTTP(w, r)
		default:
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, "ok")
		}
	}))
}

type number = wrapperspb.UInt64Value

// echoService sends every number back.
var echoService = grpc.ServiceDesc{
	ServiceName: "weft.test.Numbers",
	HandlerType: (*any)(nil),
	Streams: []grpc.StreamDesc{{
		StreamName: "Echo", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, s grpc.ServerStream) error {
			for {
				n := new(number)
				if err := s.RecvMsg(n); err != nil {
					if errors.Is(err, io.EOF) {
						return nil
					}
					return err
				}
				if err := s.SendMsg(n); err != nil {
					return err
				}
			}
		},
	}},
}

type stream struct {
	conn *grpc.ClientConn
	grpc.ClientStream
	end context.CancelFunc
}

func openStream(ctx context.Context, from *testnet.Host, at, authority string) (conversation, error) {
	conn, err := grpc.NewClient("passthrough:///"+at,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(authority),
		grpc.WithContextDialer(func(_ context.Context, a string) (net.Conn, error) { return from.TryDial("tcp", a) }))
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(ctx)
	s, err := conn.NewStream(ctx, &echoService.Streams[0], "/"+echoService.ServiceName+"/Echo")
	if err != nil {
		end()
		_ = conn.Close()
		return nil, err
	}
	return &stream{conn: conn, ClientStream: s, end: end}, nil
}

func (s *stream) say(n uint64) error { return s.SendMsg(wrapperspb.UInt64(n)) }

func (s *stream) hear() (uint64, error) {
	n := new(number)
	err := s.RecvMsg(n)
	return n.GetValue(), err
}

func (s *stream) close() {
	s.end()
	_ = s.conn.Close()
}

type webSocket struct{ *websocket.Conn }

func openWebSocket(from *testnet.Host, at, host string) (conversation, error) {
	conn, err := from.TryDial("tcp", at)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(mixedAnswer))
	here := url.URL{Scheme: "ws", Host: host, Path: "/socket"}
	ws, err := websocket.NewClient(&websocket.Config{
		Location: &here, Origin: &url.URL{Scheme: "http", Host: host}, Version: websocket.ProtocolVersionHybi13,
	}, conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return webSocket{ws}, nil
}

func (w webSocket) say(n uint64) error { return websocket.JSON.Send(w.Conn, n) }

func (w webSocket) hear() (n uint64, err error) {
	err = websocket.JSON.Receive(w.Conn, &n)
	return n, err
}

func (w webSocket) close() { _ = w.Close() }

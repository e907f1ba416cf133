package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

// TLSConfig is for connections to the control plane: its authority is the one
// that was pinned at joining, or that it has told since, its name is verified, and this host shows the
// certificate that is in force at the handshake. ServerName is left to the
// dialler.
func (i *Identity) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		RootCAs:    i.pool(),
		Time:       i.now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			i.mu.Lock()
			defer i.mu.Unlock()
			return i.agent.tls(), nil
		},
	}
}

// Dial returns a connection to one of the control planes: the first that
// answers, in an order that is another one at each call. It connects when it is
// first used and, when lost, again; connections that are to show a renewed
// certificate must be dialled anew. It fails with ErrExpired once the agent's
// certificate has. The caller closes it.
func (i *Identity) Dial(ctx context.Context, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	i.mu.Lock()
	end := i.agent.leaf.NotAfter
	i.mu.Unlock()
	if i.now().After(end) {
		return nil, fmt.Errorf("%w on %s, unless this host's clock is wrong: %s", ErrExpired, end.UTC().Format("2006-01-02 15:04:05 UTC"), rejoin)
	}
	return i.dialAny(i.order(), opts...)
}

func (i *Identity) dialAny(to []string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	if len(to) == 0 {
		return nil, errors.New("dial the control plane: no address of one is configured")
	}
	d := dialer(i.Mark)
	noted := grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		c, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		i.dialled(c.RemoteAddr().String(), address)
		return line{c}, nil
	})
	return dial(to, i.TLSConfig(), i.Mark, append(append(i.watchCalls(), noted), opts...)...)
}

// A control plane that stands still is noticed within 20 s: only its program can
// answer this.
var keepaliveParams = keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true}

// dial connects to the first of the addresses that answers; where one keeps
// quiet the next is tried beside it after a quarter of a second.
func dial(addresses []string, cfg *tls.Config, mark uint32, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	state := resolver.State{}
	for _, a := range addresses {
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			return nil, fmt.Errorf("dial the control plane: address %q is not host:port", a)
		}
		state.Addresses = append(state.Addresses, resolver.Address{Addr: a, ServerName: host})
	}
	r := manual.NewBuilderWithScheme("weft")
	r.InitialState(state)
	d := dialer(mark)
	return grpc.NewClient("weft:///control-plane", append([]grpc.DialOption{
		grpc.WithResolvers(r),
		grpc.WithTransportCredentials(credentials.NewTLS(cfg)),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			c, err := d.DialContext(ctx, "tcp", addr)
			if err != nil {
				return nil, err
			}
			return line{c}, nil
		}),
		grpc.WithNoProxy(),
		grpc.WithKeepaliveParams(keepaliveParams),
		grpc.WithDisableServiceConfig(),
	}, opts...)...)
}

// silence has the kernel ask a far end that says nothing whether it is there:
// after three seconds and again a second later, and the connection ends a second
// after that. A packet may be lost, two in a row seldom are. So a control plane
// whose machine or network is gone is left within five seconds, and no program
// has any work with it.
var silence = net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: time.Second, Count: 2}

// unanswered is how long what was sent may go without the far end's receipt.
const unanswered = 4500 * time.Millisecond

// A line is a TCP connection, which gRPC is not to know: it would put a longer
// time of its own in the place of unanswered.
type line struct{ net.Conn }

// dialer marks its sockets and those of its DNS queries, which redirection
// would otherwise send to the agent itself.
func dialer(mark uint32) *net.Dialer {
	d := &net.Dialer{Timeout: 5 * time.Second, KeepAliveConfig: silence}
	d.Control = func(_, _ string, c syscall.RawConn) error {
		limitUnanswered(c, unanswered)
		if mark == 0 {
			return nil
		}
		return markSocket(c, mark)
	}
	if mark != 0 {
		resolve := &net.Dialer{Timeout: 5 * time.Second, Control: d.Control}
		d.Resolver = &net.Resolver{PreferGo: true, Dial: resolve.DialContext}
	}
	return d
}

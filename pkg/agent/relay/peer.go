package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// peerCredentials let in only the users that may have this host's secrets.
// The socket itself is plain: nobody listens on a unix socket.
type peerCredentials struct {
	allow func() []uint32
	log   *slog.Logger
}

// A peerInfo is who is on the other end.
type peerInfo struct {
	credentials.CommonAuthInfo
	uid     uint32
	process string // tells it from all others of this boot; "" is not known
}

func (peerInfo) AuthType() string { return "peercred" }

func (p peerCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	uid, err := peerUID(conn)
	if err == nil && !slices.Contains(p.allow(), uid) {
		err = fmt.Errorf("user %d may not use this socket", uid)
	}
	if err != nil {
		p.log.Warn("connection to the relay refused", "error", err)
		_ = conn.Close()
		return nil, nil, err
	}
	info := peerInfo{uid: uid, process: peerProcess(conn)}
	info.SecurityLevel = credentials.PrivacyAndIntegrity
	return conn, info, nil
}

// processOf is the process on the other end of a stream; "" is not known.
func processOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	info, ok := p.AuthInfo.(peerInfo)
	if !ok {
		return ""
	}
	return info.process
}

func (peerCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("for servers only")
}

func (peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peercred"}
}

func (p peerCredentials) Clone() credentials.TransportCredentials { return p }

func (peerCredentials) OverrideServerName(string) error { return nil }

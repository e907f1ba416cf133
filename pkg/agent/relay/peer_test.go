//go:build linux

package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// peerSocket tells the test binary to be a client of that socket and no more.
const peerSocket = "WEFT_TEST_PEER_SOCKET"

func TestMain(m *testing.M) {
	if path := os.Getenv(peerSocket); path != "" {
		fmt.Fprintln(os.Stdout, bePeer(path))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// bePeer asks for clusters over the socket and returns what came of it.
func bePeer(path string) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return "refused: " + err.Error()
	}
	if err := s.Send(&deltaRequest{TypeUrl: clusterType}); err != nil {
		return "refused: " + err.Error()
	}
	resp, err := s.Recv()
	if err != nil {
		return "refused: " + err.Error()
	}
	return "served: " + show(resp)
}

func TestPeerIsChecked(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("run as root: the test takes on other users")
	}
	for _, tt := range []struct {
		name string
		uid  uint32
		more []uint32
		want string
	}{
		{"root", 0, nil, "served: clusters a=1"},
		{"somebody", 65534, nil, "refused"},
		{"somebody who may", 65534, []uint32{65534}, "served: clusters a=1"},
		{"somebody while another may", 65534, []uint32{65533}, "refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cp := newCP(t)
			cp.set(clusters, "a=1")
			g := newRig(t, cp, func(c *Config) { c.UIDs = tt.more })
			g.held(clusters, 1)
			// Only the check of the peer is to stand between.
			open(t, g.socket)
			if err := os.Chmod(g.socket, 0o666); err != nil {
				t.Fatal(err)
			}
			if got := runAs(t, tt.uid, g.socket); !strings.HasPrefix(got, tt.want) {
				t.Errorf("user %d: %s, want %s", tt.uid, got, tt.want)
			}
		})
	}
}

// open lets everybody through the folders above path that are the test's.
func open(t *testing.T, path string) {
	t.Helper()
	for dir := filepath.Dir(path); strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func runAs(t *testing.T, uid uint32, socket string) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "peer")
	open(t, exe)
	copyFile(t, "/proc/self/exe", exe)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = []string{peerSocket + "=" + socket}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("run as user %d: %v\n%s", uid, err, out)
	}
	return strings.TrimSpace(string(out))
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(out.Chmod(0o755), out.Close()); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

func TestSocket(t *testing.T) {
	t.Run("folder open to others", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := listen(t.Context(), filepath.Join(dir, "s"), nil)
		if err == nil || !strings.Contains(err.Error(), "open to others") {
			t.Errorf("listen: %v", err)
		}
	})
	t.Run("somebody else's folder", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "d")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
		if _, err := listen(t.Context(), filepath.Join(dir, "s"), nil); err == nil || !strings.Contains(err.Error(), "belongs to user 65534") {
			t.Errorf("listen: %v", err)
		}
	})
	t.Run("modes", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "new", "s")
		l, err := listen(t.Context(), path, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for p, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
			if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v %v, want %v", p, info.Mode(), err, want)
			}
		}
	})
	t.Run("in use, then left by the dead", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "new", "s")
		l, err := listen(t.Context(), path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := listen(t.Context(), path, nil); !errors.Is(err, ErrInUse) {
			t.Errorf("second agent: %v, want ErrInUse", err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		_ = l.Close()
		l, err = listen(t.Context(), path, nil)
		if err != nil {
			t.Fatalf("after a crash: %v", err)
		}
		_ = l.Close()
	})
	t.Run("a file in its place", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "new", "s")
		if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("precious"), 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := listen(t.Context(), path, nil); err == nil || !strings.Contains(err.Error(), "is no socket") {
			t.Errorf("listen: %v", err)
		}
		if b, _ := os.ReadFile(path); string(b) != "precious" {
			t.Error("the file is gone")
		}
	})
}

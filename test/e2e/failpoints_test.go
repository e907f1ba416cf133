//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/internal/testpg"
	"github.com/weft-mesh/weft/pkg/failpoint"
)

// visits is how often a place is passed before the control plane is killed
// there: what a start needs comes first.
var visits = map[string]int{
	failpoint.StoreBegin: 40, failpoint.StoreCommit: 40, failpoint.StoreSync: 40, failpoint.StoreNotify: 40, failpoint.StoreAck: 40,
	failpoint.FeedRead: 30, failpoint.PublishApply: 6, failpoint.PublishBuild: 4,
	failpoint.StreamSend: 6, failpoint.StreamSent: 6, failpoint.StreamAck: 6,
	failpoint.FileWrite: 1, failpoint.FileSync: 2, failpoint.FilePlace: 1, // of its first start
}

// TestKilledAtEveryFailPoint kills a control plane at each durable step of a
// change on its way. What was acknowledged is there when it is started again,
// what was not is there or not, and proxies come to what the store holds. (F06)
func TestKilledAtEveryFailPoint(t *testing.T) {
	t.Parallel() // it waits most of the time
	segment := testnet.New(t)
	pg := testpg.New(t, nil)
	pg.Start(t)
	stores := []struct {
		name string
		args func(i int) []string
	}{
		{"sqlite", func(int) []string { return nil }},
		{"postgres", func(i int) []string {
			schema := fmt.Sprintf("fail%d", i)
			pg.Exec(t, "CREATE SCHEMA "+schema)
			return []string{"--store", "postgres", "--store-dsn", pg.DSN("search_path", schema)}
		}},
	}
	host, at := segment.Host("cp"), segment.Host("proxy")
	for _, store := range stores {
		for i, point := range failpoint.Points {
			if store.name != "sqlite" && !strings.HasPrefix(point, "store.") {
				continue // what follows the store is the same for each
			}
			t.Run(store.name+" "+point, func(t *testing.T) {
				one := testmesh.NewReplica(t, host, append([]string{"--dp-auth", "none"}, store.args(i)...)...)
				one.Binary = testmesh.FailingControlPlane(t)
				one.FailPoints = fmt.Sprintf("%s=kill@%d", point, visits[point])
				one.Launch(t)
				proxy := &follower{from: at, to: []*testnet.Host{host}, id: "default." + counter}
				quit, done := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(done)
					proxy.run(quit)
				}()
				defer func() {
					close(quit)
					<-done
				}()
				acked, tried := countUntilDead(t, one)

				one.FailPoints = ""
				one.StartReplica(t)
				has := counted(t, one)
				if has < acked || has > tried {
					t.Errorf("%d is stored; %d was acknowledged and %d was tried", has, acked, tried)
				}
				if next, _ := put(one, tried+1); !next {
					t.Error("the control plane takes no write")
				}
				testmesh.Eventually(t, "the proxy has the newest", func() error {
					if v, _ := proxy.has(); v != tried+1 {
						return fmt.Errorf("it has %d, want %d", v, tried+1)
					}
					return nil
				})
				if proxy.back > 0 {
					t.Errorf("the proxy was given older values: %v", proxy.backs)
				}
				t.Logf("F06: seed none, fail point %s on %s at visit %d: acknowledged %d, tried %d, stored %d, lost 0, half 0", point, store.name, visits[point], acked, tried, has)
				one.Program().Stop(t)
			})
		}
	}
}

// TestDiskFailsUnderTheControlPlane lets a flush fail: nothing is acknowledged
// from then on, and the control plane ends with words. (F10)
func TestDiskFailsUnderTheControlPlane(t *testing.T) {
	host := testnet.New(t).Host("cp")
	one := testmesh.NewReplica(t, host)
	one.Binary = testmesh.FailingControlPlane(t)
	one.FailPoints = fmt.Sprintf("%s=error@%d", failpoint.StoreSync, visits[failpoint.StoreSync])
	one.StartReplica(t)
	acked, tried := countUntilDead(t, one)
	if code := one.Program().Wait(t); code <= 0 {
		t.Errorf("the control plane ended with code %d", code)
	}
	if out := one.Program().Output(); !strings.Contains(out, "the store's disk failed") {
		t.Errorf("it did not say why:\n%s", out)
	}
	one.FailPoints = ""
	one.StartReplica(t)
	has := counted(t, one)
	if has < acked || has > tried {
		t.Errorf("%d is stored; %d was acknowledged and %d was tried", has, acked, tried)
	}
	t.Logf("F10: seed none, flush %d fails: acknowledged %d, tried %d, stored %d, lost 0; the control plane ended by itself", visits[failpoint.StoreSync], acked, tried, has)
}

// TestDiskFullUnderTheControlPlane fills the disk of the data directory: writes
// fail in words, reads and streams go on, and all is well when there is room. (F09)
func TestDiskFullUnderTheControlPlane(t *testing.T) {
	segment := testnet.New(t)
	host := segment.Host("cp")
	one := testmesh.NewReplica(t, host, "--dp-auth", "none")
	if err := os.MkdirAll(one.DataDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("weft-test", one.DataDir(), "tmpfs", 0, "size=16m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(one.DataDir(), syscall.MNT_DETACH) })
	one.StartReplica(t)
	if ok, _ := put(one, 1); !ok {
		t.Fatal("a write on an empty disk failed")
	}
	proxy := &follower{from: segment.Host("proxy"), to: []*testnet.Host{host}, id: "default." + counter}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		proxy.run(quit)
	}()
	defer func() {
		close(quit)
		<-done
	}()
	filling := filepath.Join(one.DataDir(), "filling")
	err := os.WriteFile(filling, make([]byte, 16<<20), 0o600)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
	acked, full := 1, false
	for n := 2; n < 5000 && !full; n++ { // the log has some room yet
		status, _, text, err := one.Ask(http.MethodPut, "/meshes/default/dataplanes/"+counter, countedTo(n))
		switch {
		case err == nil && status < 300:
			acked = n
		case err == nil && status == http.StatusInsufficientStorage && strings.Contains(string(text), "make room"):
			full = true
		default:
			t.Fatalf("write %d: status %d, error %v: %s", n, status, err, text)
		}
	}
	if has := counted(t, one); !full || has != acked {
		t.Errorf("full %t; %d is read, acknowledged was %d", full, has, acked)
	}
	wants := func(n int) {
		t.Helper()
		testmesh.Eventually(t, "the proxy has the newest", func() error {
			if v, _ := proxy.has(); v != n {
				return fmt.Errorf("it has %d, want %d", v, n)
			}
			return nil
		})
	}
	wants(acked)
	if err := os.Remove(filling); err != nil {
		t.Fatal(err)
	}
	if ok, _ := put(one, acked+1); !ok {
		t.Error("there is room, and the write fails")
	}
	wants(acked + 1)
	if proxy.streams != 1 {
		t.Errorf("the proxy had %d streams, want 1 that goes on", proxy.streams)
	}
	t.Logf("F09: seed none, acknowledged %d, refused 1, lost 0, streams %d; writes taken again with no step of anybody's", acked+1, proxy.streams)
}

// put writes the number n.
func put(one *testmesh.Replica, n int) (acknowledged, answered bool) {
	status, _, _, err := one.Ask(http.MethodPut, "/meshes/default/dataplanes/"+counter, countedTo(n))
	return err == nil && status < 300, err == nil
}

// countUntilDead counts up until the control plane answers no more.
func countUntilDead(t *testing.T, one *testmesh.Replica) (acked, tried int) {
	t.Helper()
	began := false
	testmesh.Eventually(t, "the control plane is dead", func() error {
		for range 20 {
			tried++
			ok, answered := put(one, tried)
			began = began || answered
			if ok {
				acked = tried
			}
			if began && !answered {
				return nil
			}
		}
		select {
		case <-one.Program().Done():
			return nil
		default:
			return fmt.Errorf("it has acknowledged %d of %d", acked, tried)
		}
	})
	<-one.Program().Done()
	return acked, tried
}

func counted(t *testing.T, one *testmesh.Replica) int {
	t.Helper()
	status, _, text, err := one.Ask(http.MethodGet, "/meshes/default/dataplanes/"+counter, nil)
	if err == nil && status == http.StatusNotFound {
		return 0
	}
	var has struct {
		Networking struct{ Inbound []struct{ Port int } }
	}
	if err == nil {
		err = json.Unmarshal(text, &has)
	}
	if err != nil || len(has.Networking.Inbound) != 1 {
		t.Fatalf("status %d, error %v: %s", status, err, text)
	}
	return has.Networking.Inbound[0].Port
}

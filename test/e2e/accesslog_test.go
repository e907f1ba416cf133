//go:build linux

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
)

// meshWith applies the mesh with more parts.
func meshWith(t *testing.T, m *testmesh.Mesh, parts string) {
	t.Helper()
	m.Apply(t, "type: Mesh\nname: default\nmtls: {enabledBackend: ca-1, backends: [{name: ca-1, type: builtin}]}\n"+parts)
}

// logTo applies a mesh of which all calls are logged to one of its backends.
func logTo(t *testing.T, m *testmesh.Mesh, backend, backends string) {
	t.Helper()
	meshWith(t, m, fmt.Sprintf("logging:\n  defaultBackend: %s\n  backends:\n%s", backend, backends))
}

// lineCollector takes lines by TCP, as long as it is there.
type lineCollector struct {
	host   *testnet.Host
	listen string

	mu    sync.Mutex
	lines []string
	leave func()
}

func newLineCollector(t *testing.T, h *testnet.Host, listen string) *lineCollector {
	t.Helper()
	c := &lineCollector{host: h, listen: listen}
	c.come(t)
	t.Cleanup(func() { c.leave() })
	return c
}

func (c *lineCollector) come(t *testing.T) {
	t.Helper()
	l := c.host.Listen(t, c.listen)
	var (
		wg    sync.WaitGroup
		conns []net.Conn
	)
	wg.Go(func() {
		for {
			conn, err := l.TCPListener.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			conns = append(conns, conn)
			c.mu.Unlock()
			wg.Go(func() {
				for in := bufio.NewScanner(conn); in.Scan(); {
					c.mu.Lock()
					c.lines = append(c.lines, in.Text())
					c.mu.Unlock()
				}
			})
		}
	})
	c.leave = sync.OnceFunc(func() {
		_ = l.Close()
		c.mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		c.mu.Unlock()
		wg.Wait()
	})
}

func (c *lineCollector) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.lines...)
}

// with returns the lines that hold all of words.
func with(lines []string, words ...string) (found []string) {
next:
	for _, l := range lines {
		for _, w := range words {
			if !strings.Contains(l, w) {
				continue next
			}
		}
		found = append(found, l)
	}
	return found
}

func linesOf(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// oneLine waits for the line that holds words.
func oneLine(t *testing.T, lines func() []string, words ...string) (line string) {
	t.Helper()
	testmesh.Eventually(t, fmt.Sprintf("there is one line with %q", words), func() error {
		found := with(lines(), words...)
		if len(found) != 1 {
			return fmt.Errorf("there are %d of %d", len(found), len(lines()))
		}
		line = found[0]
		return nil
	})
	return line
}

// waitLogged calls until lines go where they should: what is applied arrives
// when it does.
func waitLogged(t *testing.T, rt http.RoundTripper, lines func() []string) {
	t.Helper()
	testmesh.Eventually(t, "calls are logged", func() error {
		testmesh.Call(t, rt, "http://api.mesh/wait", 1)
		if len(with(lines(), "/wait")) == 0 {
			return errors.New("there is no line")
		}
		return nil
	})
}

func TestAccessLogs(t *testing.T) {
	t.Parallel() // it waits most of the time
	m := testmesh.New(t)
	web, api, db := m.Join(t, "web"), m.Join(t, "api"), m.Join(t, "db", "--protocol", "tcp")
	outside := m.Net.Host("outside")
	testmesh.Serve(t, api.Host, "127.0.0.1:8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if code, err := strconv.Atoi(r.URL.Query().Get("code")); err == nil {
			w.WriteHeader(code)
		}
		_, _ = io.WriteString(w, "answered")
	}))
	echo := db.Listen(t, "127.0.0.1:8080")
	go func() {
		for {
			c, err := echo.TCPListener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	m.Allow(t, "web", "api")
	m.Allow(t, "web", "db")
	web.WaitAnswer(t, "http://api.mesh/")
	calls := web.Transport(t, "api.mesh")
	dir := t.TempDir()
	m.Apply(t, `type: TrafficLog
mesh: default
name: all
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: '*'}}]
`)

	t.Run("every placeholder", func(t *testing.T) {
		path := filepath.Join(dir, "placeholders.log")
		logTo(t, m, "f", fmt.Sprintf(`  - name: f
    type: file
    conf: {path: %s}
    format: 'mesh=%%KUMA_MESH%%|from=%%KUMA_SOURCE_SERVICE%%|to=%%KUMA_DESTINATION_SERVICE%%|address=%%KUMA_SOURCE_ADDRESS%%|ip=%%KUMA_SOURCE_ADDRESS_WITHOUT_PORT%%|direction=%%KUMA_TRAFFIC_DIRECTION%%|zone=%%KUMA_ZONE%%|workload=%%KUMA_WORKLOAD%%|method=%%REQ(:METHOD)%%|path=%%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%%|host=%%REQ(:AUTHORITY)%%|agent=%%REQ(USER-AGENT)%%|code=%%RESPONSE_CODE%%|flags=%%RESPONSE_FLAGS%%|received=%%BYTES_RECEIVED%%|sent=%%BYTES_SENT%%|upstream=%%UPSTREAM_HOST%%|cluster=%%UPSTREAM_CLUSTER%%|protocol=%%PROTOCOL%%|peer=%%UPSTREAM_PEER_URI_SAN%%|cut=%%REQ(X-LONG):5%%|none=%%REQ(X-NONE)%%|percent=100%%%%|start=%%START_TIME(%%s)%%|took=%%DURATION%%'
`, path))
		waitLogged(t, calls, func() []string { return linesOf(path) })
		begun := time.Now()
		if code, _, err := web.Curl(t, "-X", "POST", "-d", "hello world", "-A", "tester/1 \xff", "-H", "x-long: abcdefghij", "http://api.mesh/some/path?code=201"); code != "201" {
			t.Errorf("code %s, error %v", code, err)
		}
		line := oneLine(t, func() []string { return linesOf(path) }, "/some/path")
		got := map[string]string{}
		for _, part := range strings.Split(line, "|") {
			k, v, _ := strings.Cut(part, "=")
			got[k] = v
		}
		start, err := strconv.ParseInt(got["start"], 10, 64)
		if err != nil || time.Unix(start, 0).Before(begun.Add(-2*time.Second)) || time.Unix(start, 0).After(time.Now().Add(time.Second)) {
			t.Errorf("started at %q (%v), and it was called at %d", got["start"], err, begun.Unix())
		}
		if ms, err := strconv.Atoi(got["took"]); err != nil || ms < 0 || time.Duration(ms)*time.Millisecond > time.Since(begun) {
			t.Errorf("took %q ms", got["took"])
		}
		peers := strings.Split(got["peer"], ",")
		delete(got, "start")
		delete(got, "took")
		delete(got, "peer")
		want := map[string]string{
			"mesh": "default", "from": "web", "to": "api", "address": web.IP4.String() + ":0", "ip": web.IP4.String(),
			"direction": "OUTBOUND", "zone": "default", "workload": "",
			"method": "POST", "path": "/some/path?code=201", "host": "api.mesh", "agent": "tester/1 \xff",
			"code": "201", "flags": "-", "received": "11", "sent": "8", "upstream": api.IP4.String() + ":8080", "cluster": "api",
			"protocol": "HTTP/1.1", "cut": "abcde", "none": "-", "percent": "100%",
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("of what was called (-want +got):\n%s", d)
		}
		if len(with(peers, "spiffe://default/api")) != 1 {
			t.Errorf("the peer was %q", peers)
		}
	})

	file := filepath.Join(dir, "access.log")
	backends := fmt.Sprintf("  - {name: f, type: file, conf: {path: %s}}\n  - {name: t, type: tcp, conf: {address: '%s:5000'}}\n", file, outside.IP4)
	inFile := func() []string { return linesOf(file) }

	t.Run("the default lines", func(t *testing.T) {
		logTo(t, m, "f", backends)
		waitLogged(t, calls, inFile)
		if code, _, err := web.Curl(t, "-A", "tester/2", "-H", "x-b3-traceid: 463ac35c9f6413ad48485a3953bb6124", "-H", "x-request-id: r-1", "http://api.mesh/line?code=404"); code != "404" {
			t.Errorf("code %s, error %v", code, err)
		}
		want := `^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] default "GET /line\?code=404 HTTP/1\.1" 404 - 0 8 \d+ \d+ "-" "tester/2" "463ac35c9f6413ad48485a3953bb6124" "r-1" "api\.mesh" "web" "api" "` +
			regexp.QuoteMeta(web.IP4.String()) + `" "` + regexp.QuoteMeta(api.IP4.String()) + `:8080"$`
		if line := oneLine(t, inFile, "/line"); !regexp.MustCompile(want).MatchString(line) {
			t.Errorf("line %q, want %s", line, want)
		}
		c := web.Dial(t, "tcp", web.Resolve(t, "db.mesh").String()+":80")
		if _, err := io.WriteString(c, "five!"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		want = `^\[[^]]+Z\] - default ` + regexp.QuoteMeta(web.IP4.String()) + `\(web\)->` + regexp.QuoteMeta(db.IP4.String()) + `:8080\(db\) took \d+ms, sent 5 bytes, received: 5 bytes$`
		if line := oneLine(t, inFile, "(db)"); !regexp.MustCompile(want).MatchString(line) {
			t.Errorf("line %q, want %s", line, want)
		}
	})

	t.Run("what leaves the mesh", func(t *testing.T) {
		l := outside.Listen(t, "0.0.0.0:9999")
		_ = web.Dial(t, "tcp", fmt.Sprintf("%s:9999", outside.IP4)).Close()
		_ = l.Accept(t).Close()
		line := oneLine(t, inFile, "(external)")
		if want := fmt.Sprintf("%s(web)->%s:9999(external)", web.IP4, outside.IP4); !strings.Contains(line, want) {
			t.Errorf("line %q, want %s in it", line, want)
		}
	})

	collector := newLineCollector(t, outside, "0.0.0.0:5000")
	t.Run("every call is in one line, while lines are led elsewhere", func(t *testing.T) {
		load := testmesh.StartLoad(t, calls, "http://api.mesh/load", 200)
		logTo(t, m, "t", backends)
		testmesh.Eventually(t, "lines arrive by TCP", func() error {
			if len(with(collector.all(), "/load")) == 0 {
				return errors.New("there are none")
			}
			return nil
		})
		answers := load.Stop()
		if answers["200"] != answers.Total() {
			t.Errorf("answers %v", answers)
		}
		testmesh.Eventually(t, "there is a line for each", func() error {
			f, c := len(with(inFile(), "/load")), len(with(collector.all(), "/load"))
			if f+c != answers.Total() {
				return fmt.Errorf("%d calls, %d lines in the file and %d sent", answers.Total(), f, c)
			}
			return nil
		})
	})

	t.Run("a collector that is away", func(t *testing.T) {
		collector.leave()
		answers := testmesh.Call(t, calls, "http://api.mesh/away", 500)
		if answers["200"] != 500 {
			t.Errorf("answers %v", answers)
		}
		testmesh.Eventually(t, "status tells", func() error {
			for _, c := range web.Status(t).Checks {
				if c.Name == "access log" && !c.OK && strings.Contains(c.Text, "tcp:") {
					return nil
				}
			}
			return errors.New("no such check")
		})
		collector.come(t)
		testmesh.Eventually(t, "every line arrives when it is back", func() error {
			// Connections of before the change may still be logged to the file.
			if f, c := len(with(inFile(), "/away")), len(with(collector.all(), "/away")); f+c != 500 {
				return fmt.Errorf("%d and %d of 500", f, c)
			}
			return nil
		})
		web.WaitWell(t)
	})

	t.Run("a file that cannot be", func(t *testing.T) {
		late := filepath.Join(dir, "late", "access.log")
		load := testmesh.StartLoad(t, calls, "http://api.mesh/late", 100)
		logTo(t, m, "f", fmt.Sprintf("  - {name: f, type: file, conf: {path: %s}}\n", late))
		testmesh.Eventually(t, "status tells", func() error {
			if out, err := web.Agent(t, "status"); err == nil || !strings.Contains(out, "no such file or directory") {
				return fmt.Errorf("%w\n%s", err, out)
			}
			return nil
		})
		if answers := load.Stop(); answers["200"] != answers.Total() {
			t.Errorf("answers %v", answers)
		}
		if err := os.Mkdir(filepath.Dir(late), 0o700); err != nil {
			t.Fatal(err)
		}
		testmesh.Eventually(t, "lines were kept", func() error {
			if len(with(linesOf(late), "/late")) == 0 {
				return errors.New("there are none")
			}
			return nil
		})
		web.WaitWell(t)
	})

	t.Run("an agent that hangs", func(t *testing.T) {
		pid := web.AgentProgram().PID()
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
		if answers := testmesh.Call(t, calls, "http://api.mesh/hangs", 5000); answers["200"] != 5000 {
			t.Errorf("answers %v", answers)
		}
	})

	t.Run("a collector in the mesh", func(t *testing.T) {
		logs := m.Join(t, "logs", "--protocol", "tcp")
		m.Allow(t, "web", "logs")
		inside := newLineCollector(t, logs.Host, "127.0.0.1:8080")
		logTo(t, m, "t", "  - {name: t, type: tcp, conf: {address: 'logs.mesh:80'}}\n")
		waitLogged(t, calls, inside.all)
	})

	t.Run("a backend that is not there", func(t *testing.T) {
		m.Apply(t, `type: TrafficLog
mesh: default
name: all
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: '*'}}]
conf: {backend: nobody}
`)
		testmesh.Eventually(t, "inspect tells", func() error {
			if out := m.Ctl(t, "inspect", "dataplane", "web-1", "--stage", "plan"); !strings.Contains(out, `"nobody" is not the name of any of logging.backends`) {
				return errors.New(out)
			}
			return nil
		})
		testmesh.Eventually(t, "the overview of all tells, too", func() error { return inOverview(t, m, "web-1", `"nobody" is not the name of any of logging.backends`) })
		if answers := testmesh.Call(t, calls, "http://api.mesh/", 50); answers["200"] != 50 {
			t.Errorf("answers %v", answers)
		}
	})

	t.Run("lines of the last calls are written before the agent ends", func(t *testing.T) {
		last := filepath.Join(dir, "last.log")
		m.Apply(t, `type: TrafficLog
mesh: default
name: all
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: '*'}}]
`)
		logTo(t, m, "f", fmt.Sprintf("  - {name: f, type: file, conf: {path: %s}}\n", last))
		waitLogged(t, calls, func() []string { return linesOf(last) })
		if answers := testmesh.Call(t, calls, "http://api.mesh/last", 200); answers["200"] != 200 {
			t.Errorf("answers %v", answers)
		}
		web.StopAll(t)
		if n := len(with(linesOf(last), "/last")); n != 200 {
			t.Errorf("%d lines of 200", n)
		}
	})
}

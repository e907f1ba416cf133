package cp

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// doors are those of a control plane that runs.
type doors struct {
	*ControlPlane
	log        *lines
	plain, tls string // addresses
	socket     string
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// slow is how long the doors of these tests wait for a slow client: each
// timeout is in the proportion that it really has.
const slow = 250 * time.Millisecond

func openDoors(t *testing.T) *doors {
	t.Helper()
	return openDoorsThatWait(t, slow)
}

// openDoorsThatWait opens doors that wait so long for a head: also for the end
// of a handshake, which the client may think over before.
func openDoorsThatWait(t *testing.T, head time.Duration) *doors {
	t.Helper()
	dir := t.TempDir()
	d := &doors{log: &lines{}, socket: filepath.Join(dir, "api.sock")}
	c, err := New(t.Context(), Config{
		DataDir: filepath.Join(dir, "data"), HostsAddress: "127.0.0.1:0", APIAddress: "127.0.0.1:0", APITLSAddress: "127.0.0.1:0",
		APISocket: d.socket, Zone: "default", DPAuth: DPAuthToken, Store: StoreMemory,
	}, "1.0.0", slog.New(slog.NewTextHandler(d.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	d.ControlPlane, d.plain, d.tls = c, c.doors.api.Addr().String(), c.doors.apiTLS.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = c.publisher.Run(ctx) })
	for _, s := range c.httpServers() {
		if s.door == nil {
			continue
		}
		if s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.WriteTimeout == 0 || s.IdleTimeout == 0 {
			t.Errorf("%s waits for ever", s.name)
		}
		s.ReadHeaderTimeout, s.ReadTimeout = head, 2*head
		running.Go(func() {
			if err := s.run(ctx); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
		c.close()
	})
	return d
}

// ask sends raw bytes: a head, to which what every request needs is added, and
// a body that write sends. It returns the status, 0 where the door was shut
// without an answer, and the answer.
func (d *doors) ask(t *testing.T, head string, write func(io.Writer) error) (int, string) {
	t.Helper()
	conn, err := net.Dial("tcp", d.plain)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testtime.Wait))
	sent := make(chan struct{})
	go func() { // the answer may come before all is sent
		defer close(sent)
		if _, err := io.WriteString(conn, head); err == nil && write != nil {
			_ = write(conn)
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		_ = conn.Close()
		<-sent
		return 0, err.Error()
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close()
	_ = conn.Close()
	<-sent
	return resp.StatusCode, fmt.Sprint(resp.Header) + string(body)
}

// head begins a request as the administrator.
func (d *doors) head(request string, headers ...string) string {
	return request + " HTTP/1.1\r\nHost: cp\r\nAuthorization: Bearer " + d.admin + "\r\n" + strings.Join(append(headers, "\r\n"), "\r\n")
}

// text is a request whose body is at hand.
func (d *doors) text(method, path, contentType, body string, headers ...string) string {
	headers = append(headers, "Content-Type: "+contentType, fmt.Sprintf("Content-Length: %d", len(body)))
	return d.head(method+" "+path, headers...) + body
}

// zeros writes n bytes from one small buffer.
func zeros(n int) func(io.Writer) error {
	return func(w io.Writer) error {
		buf := make([]byte, 64<<10)
		for n > 0 {
			k, err := w.Write(buf[:min(n, len(buf))])
			if err != nil {
				return err
			}
			n -= k
		}
		return nil
	}
}

// chunks is zeros, in chunks.
func chunks(n int) func(io.Writer) error {
	return func(w io.Writer) error {
		for range n / 10000 {
			if _, err := fmt.Fprintf(w, "2710\r\n%s\r\n", strings.Repeat("a", 10000)); err != nil {
				return err
			}
		}
		_, err := io.WriteString(w, "0\r\n\r\n")
		return err
	}
}

// dripping writes a byte at a time until the other side has enough.
func dripping(w io.Writer) error {
	tick := time.NewTicker(slow / 10)
	defer tick.Stop()
	for {
		<-tick.C
		if _, err := io.WriteString(w, "a"); err != nil {
			return err
		}
	}
}

func gzipped(n int) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_ = zeros(n)(w)
	_ = w.Close()
	return b.String()
}

// allocated runs f and tells how much memory it took, in all and for good.
func allocated(f func()) (all, kept int64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc), int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

// What one hostile request may cost, client and server together. A document
// of 1 MB costs several times its size to read, and no more whatever follows.
const (
	mostAllocated = 64 << 20
	mostKept      = 4 << 20
)

// TestHostileRequests: whatever comes, there is a 4xx with the reason, or the
// door is shut; memory is bounded, and the door opens for the next one.
func TestHostileRequests(t *testing.T) {
	d := openDoors(t)
	const (
		dp   = "/meshes/default/dataplanes/a"
		json = "application/json"
		yaml = "application/yaml"
	)
	long := strings.Repeat("n", 300)
	doc := func(name string) string { return `{"type": "Dataplane", "mesh": "default", "name": ` + name + `}` }
	nested := func(n int, open, end string) string { return strings.Repeat(open, n) + strings.Repeat(end, n) }
	source := `{"match": {"kuma.io/service": "*"`
	for i := range 69 {
		source += fmt.Sprintf(`, "t%d": "*"`, i)
	}
	source += "}}"
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		bomb += fmt.Sprintf("a%d: &a%d [%s*a%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 8), i)
	}
	cases := []struct {
		name   string
		head   string
		body   func(io.Writer) error
		status []int
		words  []string
	}{
		{"100 MB", d.head("PUT "+dp, "Content-Type: "+json, "Content-Length: 104857600"), zeros(100 << 20), []int{413}, []string{"1048576 bytes are allowed"}},
		{"100 MB in chunks", d.head("PUT "+dp, "Content-Type: "+json, "Transfer-Encoding: chunked"), chunks(100 << 20), []int{413}, []string{"1048576 bytes are allowed"}},
		{"100 MB from nobody", "PUT " + dp + " HTTP/1.1\r\nHost: cp\r\nContent-Length: 104857600\r\n\r\n", zeros(100 << 20), []int{401}, []string{"admin-token"}},
		{"100 MB to where nothing is", d.head("PUT /nonsense", "Content-Length: 104857600"), zeros(100 << 20), []int{404}, []string{"Page Not Found"}},
		{"100 MB for a token", d.head("POST /tokens/dataplane", "Content-Length: 104857600"), zeros(100 << 20), []int{413}, nil},
		{"100 MB to compare", d.head("POST /_weft/diff", "Content-Length: 104857600"), zeros(100 << 20), []int{413}, nil},
		{"10,000 headers", d.head("GET /", strings.TrimSuffix(strings.Repeat("X-A: b\r\n", 10000), "\r\n")), nil, []int{431}, []string{"Header"}},
		{"a header of 1 MB", d.head("GET /", "X-A: "+strings.Repeat("a", 1<<20)), nil, []int{431}, nil},
		{"a path of 1 MB", d.head("GET /" + strings.Repeat("a", 1<<20)), nil, []int{431}, nil},
		{"two lengths", d.head("PUT "+dp, "Content-Length: 1", "Content-Length: 2") + "aa", nil, []int{400}, nil},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", nil, []int{400}, nil},
		{"no HTTP", "\x16\x03\x01\x00\x00", nil, []int{400, 0}, nil},
		{"a header that never ends", "GET / HTTP/1.1\r\nHost: cp\r\nX-A: ", dripping, []int{0, 408}, nil},
		{"a body that never ends", d.head("PUT "+dp, "Content-Type: "+json, "Content-Length: 1000"), dripping, []int{400, 408}, []string{"ended too early"}},
		{"gzip bomb", d.text("PUT", dp, json, gzipped(50<<20), "Content-Encoding: gzip"), nil, []int{415}, []string{"Content-Encoding"}},
		{"a form", d.text("PUT", dp, "application/x-www-form-urlencoded", "a=b"), nil, []int{415}, []string{"application/json"}},
		{"a form of parts", d.text("PUT", dp, "multipart/form-data; boundary=x", "--x"), nil, []int{415}, nil},
		{"a picture", d.text("PUT", dp, "image/png", "x"), nil, []int{415}, nil},
		{"no content type", d.text("PUT", dp, "a/b/c;;", "x"), nil, []int{415}, nil},
		{"YAML bomb", d.text("PUT", dp, yaml, bomb), nil, []int{400}, nil},
		{"YAML that names itself", d.text("PUT", dp, yaml, "a: &a [*a]\n"), nil, []int{400}, nil},
		{"YAML of a program", d.text("PUT", dp, yaml, "type: !!python/object/apply:os.system ['id']\n"), nil, []int{400}, nil},
		{"100,000 deep", d.text("PUT", dp, json, nested(100000, "[", "]")), nil, []int{400}, nil},
		{"100,000 deep, of objects", d.text("PUT", dp, json, nested(100000, `{"a":`, "}")), nil, []int{400}, nil},
		{"100,000 deep in YAML", d.text("PUT", dp, yaml, strings.Repeat("- ", 100000)), nil, []int{400}, nil},
		{"the same key twice", d.text("PUT", dp, json, `{"type": "Dataplane", "type": "Dataplane"}`), nil, []int{400}, []string{"type"}},
		{"100,000 fields that are null", d.text("PUT", dp, yaml, strings.Repeat("? x\n", 100000)), nil, []int{400}, nil},
		{"100,000 inbounds", d.text("PUT", dp, json, `{"type": "Dataplane", "mesh": "default", "name": "a", "networking": {"inbound": [`+strings.Repeat("{},", 100000)+`{}]}}`), nil, []int{400}, []string{"more than 40000 values"}},
		{"10,000 faults", d.text("PUT", dp, json, `{"type": "Dataplane", "mesh": "default", "name": "a", "networking": {"inbound": [`+strings.Repeat("{},", 9999)+`{}]}}`), nil, []int{400}, []string{" more"}},
		{"a huge number", d.text("PUT", dp, json, `{"type": "Dataplane", "networking": {"inbound": [{"port": 1e999999}]}}`), nil, []int{400}, nil},
		{"a number that is none", d.text("PUT", dp, yaml, "type: Dataplane\nnetworking: {inbound: [{port: .nan}]}\n"), nil, []int{400}, nil},
		{"no UTF-8", d.text("PUT", dp, json, doc(`"`+"\xff\xfe"+`"`)), nil, []int{400}, nil},
		{"NUL", d.text("PUT", dp, json, doc(`"a\u0000b"`)), nil, []int{400}, []string{"name"}},
		{"name ..", d.text("PUT", "/meshes/default/dataplanes/%2e%2e", json, doc(`".."`)), nil, []int{400, 404}, nil},
		{"name with /", d.text("PUT", "/meshes/default/dataplanes/a%2Fb", json, doc(`"a/b"`)), nil, []int{400}, []string{`"field": "name"`}},
		{"name with NUL", d.text("PUT", "/meshes/default/dataplanes/a%00b", json, doc(`"a\u0000b"`)), nil, []int{400}, []string{`"field": "name"`}},
		{"name of 300", d.text("PUT", "/meshes/default/dataplanes/"+long, json, doc(`"`+long+`"`)), nil, []int{400}, []string{"at most 253 characters"}},
		{"mesh of 64", d.text("PUT", "/meshes/"+long[:64], json, `{"type": "Mesh", "name": "`+long[:64]+`"}`), nil, []int{400}, []string{"at most 63 characters"}},
		{"name from right to left", d.text("PUT", "/meshes/default/dataplanes/a%E2%80%AEb", json, doc(`"a\u202eb"`)), nil, []int{400}, []string{`"field": "name"`}},
		{"name with lines", d.text("PUT", "/meshes/default/dataplanes/a%0d%0alevel=ERROR", json, doc(`"a\r\nlevel=ERROR"`)), nil, []int{400}, []string{`"field": "name"`}},
		{"name of a shell", d.text("PUT", "/meshes/default/dataplanes/$(id)", json, doc(`"$(id)"`)), nil, []int{400}, []string{`"field": "name"`}},
		{"look for ..", d.head("GET /meshes/default/secrets/..%2f..%2fetc%2fpasswd"), nil, []int{404}, nil},
		{"look for a file", d.head("GET /../../etc/passwd"), nil, []int{404}, nil},
		{"look with lines", d.head("GET /meshes/a%0d%0alevel=ERROR%20msg=x"), nil, []int{404}, nil},
		{"look with a target", "GET http://elsewhere.example/ HTTP/1.1\r\nHost: cp\r\n\r\n", nil, []int{401}, nil},
		{"query that is none", d.head("GET /meshes?size=%zz&filter[=;"), nil, []int{200, 400}, nil},
		{"70 sources of 70 tags", d.text("PUT", "/meshes/default/traffic-permissions/many", json, `{"type": "TrafficPermission", "mesh": "default", "name": "many", "sources": [`+
			strings.Repeat(source+",", 69)+source+`], "destinations": [`+source+`]}`), nil, []int{201}, nil}, // and nothing is made of their combinations
		{"a label that injects", d.text("PUT", dp, json, `{"type": "Dataplane", "mesh": "default", "name": "a", "labels": {"a\r\nb": "c"}, "networking": {"address": "192.0.2.1", "inbound": [{"port": 80, "tags": {"kuma.io/service": "a"}}]}}`), nil, []int{400}, []string{"labels"}},
	}
	var most, left int64
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var status int
			var text string
			watch := testtime.Start(t)
			all, kept := allocated(func() { status, text = d.ask(t, c.head, c.body) })
			if !slices.Contains(c.status, status) {
				t.Errorf("answered %d, want %v:\n%.1000s", status, c.status, text)
			}
			for _, w := range c.words {
				if status != 0 && !strings.Contains(text, w) {
					t.Errorf("the answer lacks %q:\n%.1000s", w, text)
				}
			}
			if most, left = max(most, all), max(left, kept); all > mostAllocated || kept > mostKept {
				t.Errorf("took %d kB and kept %d kB", all>>10, kept>>10)
			}
			if took := watch.Took(); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			if status, text := d.ask(t, d.head("GET /"), nil); status != 200 {
				t.Errorf("and the next one was answered %d: %s", status, text)
			}
		})
	}
	for line := range strings.Lines(d.log.String()) {
		if !strings.HasPrefix(line, "time=") || strings.Contains(line, "panic") || strings.Contains(line, "level=ERROR") && !strings.Contains(line, `\nlevel=ERROR`) {
			t.Errorf("the log has a line that is not ours: %s", line)
		}
	}
	page, err := d.store.List(t.Context(), store.Query{Kind: mesh.DataplaneKind})
	if err != nil || page.Total != 0 {
		t.Errorf("%d dataplanes were stored, %v", page.Total, err)
	}
	t.Logf("F21, F26, F28: seed none, hostile requests %d, others answered after each, most allocated by one %d MB, kept by one %d kB", len(cases), most>>20, left>>10)
}

// http2Conn speaks HTTP/2 by hand.
func (d *doors) http2Conn(t *testing.T, settings ...http2.Setting) (*http2.Framer, net.Conn) {
	t.Helper()
	conn, err := tls.Dial("tcp", d.tls, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) //nolint:gosec // who the server is does not matter here
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testtime.Wait))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(conn, conn)
	if err := f.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	return f, conn
}

// ends reads until the server ends the connection, or stop is closed, and
// returns with which code.
func ends(f *http2.Framer) (code http2.ErrCode, refused int) {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return code, refused
		}
		switch frame := frame.(type) {
		case *http2.GoAwayFrame:
			code = frame.ErrCode
		case *http2.RSTStreamFrame:
			if frame.ErrCode == http2.ErrCodeRefusedStream || frame.ErrCode == http2.ErrCodeProtocol {
				refused++
			}
		}
	}
}

func request(path string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, h := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "cp"}, {Name: ":path", Value: path}} {
		_ = e.WriteField(h)
	}
	return b.Bytes()
}

// TestHostileStreams: what HTTP/2 makes cheap for a client. Somebody else is
// answered all the while.
func TestHostileStreams(t *testing.T) {
	d := openDoors(t)
	const many = 10000
	open := func(f *http2.Framer, id uint32, end bool) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: request("/"), EndStream: end, EndHeaders: true})
	}
	for _, c := range []struct {
		name   string
		attack func(f *http2.Framer, i uint32) error
	}{
		{"reset at once", func(f *http2.Framer, i uint32) error {
			return errors.Join(open(f, 2*i+1, true), f.WriteRSTStream(2*i+1, http2.ErrCodeCancel))
		}},
		{"never ended", func(f *http2.Framer, i uint32) error { return open(f, 2*i+1, false) }},
		{"headers without end", func(f *http2.Framer, i uint32) error {
			if i == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: request("/"), EndStream: true})
			}
			return f.WriteContinuation(1, false, bytes.Repeat([]byte{0}, 100))
		}},
		{"10,000 headers", func(f *http2.Framer, i uint32) error {
			if i > 0 {
				return errors.New("it is one request")
			}
			head := bytes.NewBuffer(request("/"))
			e := hpack.NewEncoder(head)
			for i := range many {
				_ = e.WriteField(hpack.HeaderField{Name: fmt.Sprintf("x-%d", i), Value: "a"})
			}
			err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Next(16 << 10), EndStream: true})
			for err == nil && head.Len() > 0 {
				more := head.Next(16 << 10)
				err = f.WriteContinuation(1, head.Len() == 0, more)
			}
			return err
		}},
		{"pings", func(f *http2.Framer, _ uint32) error { return f.WritePing(false, [8]byte{}) }},
		{"settings", func(f *http2.Framer, _ uint32) error { return f.WriteSettings() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, conn := d.http2Conn(t)
			done := make(chan http2.ErrCode, 1)
			go func() {
				code, _ := ends(f)
				done <- code
			}()
			var worst time.Duration
			all, kept := allocated(func() {
				for i := range uint32(many) {
					if err := c.attack(f, i); err != nil {
						break // the server had enough
					}
					if i%2000 == 0 {
						watch := testtime.Start(t)
						if status, text := d.ask(t, d.head("GET /"), nil); status != 200 {
							t.Errorf("somebody else was answered %d: %s", status, text)
						}
						worst = max(worst, watch.Took())
					}
				}
				_ = conn.Close()
			})
			t.Logf("F21: seed none, %s %d times at most: took %d kB, kept %d kB, ended with %v, somebody else waited %v at most", c.name, many, all>>10, kept>>10, <-done, worst)
			if all > 2*mostAllocated || kept > mostKept {
				t.Errorf("took %d kB and kept %d kB", all>>10, kept>>10)
			}
			if worst > 2*time.Second {
				t.Errorf("somebody else waited %v", worst)
			}
		})
	}
}

// TestAnswersThatNobodyTakes: a client that asks and asks, with heads as long as
// they may be, and takes no answer, has so many requests under way as it may
// have and no more; others are answered.
func TestAnswersThatNobodyTakes(t *testing.T) {
	d := openDoorsThatWait(t, testtime.Wait)
	const conns, streams = 2 * maxOfSource / 32, 32
	head := bytes.NewBuffer(request("/"))
	e := hpack.NewEncoder(head)
	for i := range 700 {
		_ = e.WriteField(hpack.HeaderField{Name: fmt.Sprintf("x-%d", i), Value: "a", Sensitive: true})
	}
	refused := make(chan http2.ErrCode, conns*streams)
	var open []net.Conn
	all, kept := allocated(func() {
		for range conns {
			f, conn := d.http2Conn(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			open = append(open, conn)
			go func() {
				for {
					frame, err := f.ReadFrame()
					if err != nil {
						return
					}
					if r, ok := frame.(*http2.RSTStreamFrame); ok {
						refused <- r.ErrCode
					}
				}
			}()
			for i := range uint32(streams) {
				if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: head.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
					t.Fatal(err)
				}
			}
		}
		late := time.After(testtime.Wait)
		for n := range conns*streams - maxOfSource {
			select {
			case <-refused:
			case <-late:
				t.Fatalf("%d requests of %d were broken off, want %d", n, conns*streams, conns*streams-maxOfSource)
			}
		}
	})
	t.Logf("%d requests of %d wait; took %d kB, kept %d kB", maxOfSource, conns*streams, all>>10, kept>>10)
	if kept > 128<<20 {
		t.Errorf("kept %d kB", kept>>10)
	}
	ask := func(from string) error {
		dialer := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}, Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // as above
		conn, err := dialer.DialContext(t.Context(), "tcp", d.tls)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(testtime.Wait))
		if _, err := io.WriteString(conn, d.head("GET /")); err != nil {
			return err
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	if err := ask("127.0.0.2"); err != nil {
		t.Errorf("somebody else is not answered: %v", err)
	}
	if err := ask("127.0.0.1"); err == nil {
		t.Error("one more of the same is answered")
	}
	if log := d.log.String(); strings.Count(log, "requests were refused") != 1 {
		t.Errorf("the log says:\n%s", log)
	}
	for _, conn := range open {
		_ = conn.Close()
	}
	for i := 0; ask("127.0.0.1") != nil; i++ { // until the server has seen it
		if i == 1000 {
			t.Fatal("who leaves makes no room")
		}
	}
}

// TestCrowd: one address that opens more connections than it may shuts out
// itself, and the log says who.
func TestCrowd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	c := newCrowd(l, slog.New(slog.NewTextHandler(log, nil)))
	c.oneMost = 8
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") }), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(c) }()
	t.Cleanup(func() { _ = s.Close() })
	dial := func(from string) (net.Conn, bool) {
		nd := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := nd.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(testtime.Wait))
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			return conn, false
		}
		_, err = conn.Read(make([]byte, 1))
		return conn, err == nil
	}
	var open []net.Conn
	for i := range 20 {
		conn, answered := dial("127.0.0.1")
		if answered != (i < 8) {
			t.Errorf("connection %d: answered %t", i, answered)
		}
		open = append(open, conn)
	}
	if _, answered := dial("127.0.0.2"); !answered {
		t.Error("another address is shut out, too")
	}
	if got := log.String(); strings.Count(got, "connections were refused") != 1 || !strings.Contains(got, "source=127.0.0.1/32") {
		t.Errorf("the log says:\n%s", got)
	}
	_ = open[0].Close()
	for i := 0; ; i++ { // until the server has seen it
		if _, answered := dial("127.0.0.1"); answered {
			break
		} else if i == 1000 {
			t.Fatal("who leaves makes no room")
		}
	}
}

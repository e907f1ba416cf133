package agent

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"regexp"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pkg/envoy"
)

// A page is one file of a bundle.
type page struct {
	name  string
	write func(ctx context.Context, cfg Config) ([]byte, error)
}

// hostPages are those of a host, workloadPages those of each workload.
var (
	hostPages = []page{
		{"doctor.json", func(ctx context.Context, cfg Config) ([]byte, error) { return printed(Doctor(ctx, cfg, nil)) }},
		{"status.json", func(ctx context.Context, cfg Config) ([]byte, error) { return printed(FetchStatus(ctx, cfg)) }},
		{"agent.log", fetchLog},
		{"resolv.conf", func(_ context.Context, cfg Config) ([]byte, error) { return os.ReadFile(cfg.ResolvConf) }},
		{"os-release", func(context.Context, Config) ([]byte, error) { return os.ReadFile("/etc/os-release") }},
		{"modules", func(context.Context, Config) ([]byte, error) { return os.ReadFile("/proc/modules") }},
		{"limits", limitsOfAgent},
		{"network.txt", listNetwork},
		{"files.txt", listFiles},
	}
	workloadPages = []page{
		{"dataplane.json", func(_ context.Context, cfg Config) ([]byte, error) {
			at, err := cfg.address()
			if err != nil {
				return nil, err
			}
			return cfg.Dataplane(at), nil
		}},
		{"redirection.txt", describeRedirection},
		{"envoy/config_dump.json", func(ctx context.Context, cfg Config) ([]byte, error) {
			return envoy.NewAdmin(cfg.adminSocket()).ConfigDump(ctx)
		}},
		{"envoy/stats.txt", func(ctx context.Context, cfg Config) ([]byte, error) {
			stats, err := envoy.NewAdmin(cfg.adminSocket()).Prometheus(ctx, "", true)
			if err != nil {
				return nil, err
			}
			defer stats.Close()
			return io.ReadAll(io.LimitReader(stats, maxPage))
		}},
	}
)

// maxPage bounds one file of a bundle, in bytes.
const maxPage = 16 << 20

// Bundle writes a tar.gz of all that helps to find out what is wrong with this
// host: doctor, status, log, configuration, rules and Envoy's own view. Keys,
// tokens and what looks like one are not in it. What cannot be had has the
// reason in its place.
func Bundle(ctx context.Context, cfg Config, file string, to io.Writer) error {
	zip := gzip.NewWriter(to)
	out := tar.NewWriter(zip)
	now := time.Now()
	put := func(name string, text []byte, err error) error {
		if err != nil {
			name, text = name+".missing", []byte(err.Error()+"\n")
		}
		text = withoutSecrets(text)
		header := &tar.Header{Name: path.Join("weft-agent", name), Mode: 0o600, Size: int64(len(text)), ModTime: now, Typeflag: tar.TypeReg}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		_, err = out.Write(text)
		return err
	}
	text, err := os.ReadFile(file)
	errs := []error{put("agent.yaml", text, err)}
	write := func(pages []page, cfg Config, folder string) {
		for _, p := range pages {
			ctx, cancel := context.WithTimeout(ctx, examinationTime)
			text, err := p.write(ctx, cfg)
			cancel()
			errs = append(errs, put(path.Join(folder, p.name), text, err))
		}
	}
	write(hostPages, cfg, "")
	for _, w := range cfg.Workloads() {
		write(workloadPages, w, path.Join("workloads", w.Name))
	}
	return errors.Join(append(errs, out.Close(), zip.Close())...)
}

func printed(v any) ([]byte, error) { return json.MarshalIndent(v, "", "  ") }

func describeRedirection(ctx context.Context, cfg Config) ([]byte, error) {
	if !cfg.Redirect {
		return []byte("off, as configured\n"), nil
	}
	rules, err := cfg.Rules()
	if err != nil {
		return nil, err
	}
	choice, err := cfg.Choose(ctx, rules)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "engine: %s\n", choice)
	state, differences, err := CheckRedirection(ctx, cfg)
	fmt.Fprintf(&b, "switch: %s\n", state.Text(time.Now()))
	if err != nil {
		fmt.Fprintf(&b, "check: %s\n", err)
	}
	for _, d := range differences {
		fmt.Fprintf(&b, "differs: %s\n", d)
	}
	text, err := choice.redirector.Describe(rules)
	fmt.Fprintf(&b, "\nwanted:\n%s\n", text)
	return b.Bytes(), err
}

// secretsIn finds what is nobody's to see: private keys, tokens of ours and
// JWTs, credentials in URLs, and values of keys that say what they are.
var secretsIn = []*regexp.Regexp{
	regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)-----END [A-Z ]*PRIVATE KEY-----`),
	regexp.MustCompile(`weft1\.[A-Za-z0-9_=.-]{16,}`),
	regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`),
	regexp.MustCompile(`LS0tLS1CRUdJTi[A-Za-z0-9+/=]*`), // "-----BEGIN " in base64
	regexp.MustCompile(`(?i)\b(bearer|basic) [A-Za-z0-9+/=._~-]{8,}`),
	regexp.MustCompile(`://[^/\s:@"]+:[^/\s@"]+@`),
}

// valueOf is a value whose key says that it is nobody's to see.
var valueOf = regexp.MustCompile(`(?i)("?(?:password|passwd|secret|token|api_?key|private_?key)"?\s*(?:=\s*"?|:\s+"?|:"))[^\s",{}\[\]]{6,}`)

func withoutSecrets(text []byte) []byte {
	for _, re := range secretsIn {
		text = re.ReplaceAll(text, []byte("[left out]"))
	}
	return valueOf.ReplaceAll(text, []byte("${1}[left out]"))
}

// A Tail keeps the end of what is written to it.
type Tail struct {
	mu   sync.Mutex
	text []byte
}

// maxTail is how much a Tail keeps, in bytes, give or take as much again.
const maxTail = 256 << 10

// Write never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if len(t.text) > 2*maxTail {
		rest := t.text[len(t.text)-maxTail:]
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			rest = rest[i+1:]
		}
		t.text = append([]byte{}, rest...)
	}
	return len(p), nil
}

func (t *Tail) bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.text)
}

// fetchLog asks the running agent for the end of its log.
func fetchLog(ctx context.Context, cfg Config) ([]byte, error) {
	resp, err := askAgent(ctx, cfg.statusSocket(), "/log")
	if err != nil {
		return nil, fmt.Errorf("the agent does not run, %s: %w", itsLog, err)
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, maxPage))
}

// askAgent gets a page of the running agent's own.
func askAgent(ctx context.Context, socket, page string) (*http.Response, error) {
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent"+page, nil)
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

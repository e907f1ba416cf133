package api_test

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/api"
)

// hostile are documents that cost more than they weigh, or mean something else
// than they seem to. None of them is one of ours.
func hostile() map[string]string {
	laughs := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 30; i++ {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	const head = `{"type":"TrafficPermission","mesh":"default","name":"x",`
	return map[string]string{
		"billion laughs":        laughs,
		"quadratic alias":       "a: &a " + strings.Repeat("x", 400_000) + "\nb: [" + strings.Repeat("*a,", 100_000) + "]\n",
		"merge keys":            "a: &a {" + strings.Repeat("k: 1, ", 1) + "}\nb: {" + strings.Repeat("<<: *a, ", 50_000) + "}\n",
		"10,000 deep, JSON":     strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000),
		"10,000 deep, flow":     strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
		"5,000 deep, block":     deepBlock(1000),
		"100,000 elements":      head + `"sources":[` + strings.TrimSuffix(strings.Repeat("1,", 100_000), ",") + "]}",
		"100,000 nulls":         head + `"sources":[` + strings.TrimSuffix(strings.Repeat("null,", 100_000), ",") + "]}",
		"100,000 keys":          head + strings.TrimSuffix(manyKeys(50_000), ",") + "}",
		"duplicate keys":        head + strings.TrimSuffix(strings.Repeat(`"sources":[],`, 50_000), ",") + "}",
		"duplicate keys, YAML":  strings.Repeat("sources: []\n", 50_000),
		"a huge integer":        `{"type":"Dataplane","mesh":"default","name":"x","networking":{"address":"192.0.2.1","inbound":[{"port":1e999999999}]}}`,
		"a million digits":      `{"type":"Dataplane","mesh":"default","name":"x","networking":{"inbound":[{"port":` + strings.Repeat("9", 900_000) + `}]}}`,
		"NaN":                   "type: ProxyTemplate\nname: .nan\n",
		"infinity":              "type: Mesh\nname: x\ntracing: {backends: [{sampling: .inf}]}\n",
		"invalid UTF-8":         "type: Mesh\nname: \xff\xfe\n",
		"invalid UTF-8, JSON":   "{\"type\":\"Mesh\",\"name\":\"\xff\"}",
		"half a surrogate":      `{"type":"Mesh","name":"\ud800"}`,
		"a tag of Python":       "type: Mesh\nname: !!python/object/apply:os.system [id]\n",
		"a binary of YAML":      "type: Mesh\nname: !!binary |\n  " + strings.Repeat("/w==", 200_000) + "\n",
		"a flow of numbers":     "type: Mesh\nname: [" + strings.Repeat("1,", 500_000) + "]\n",
		"a flow of flows":       "type: Mesh\nname: [" + strings.Repeat("[],", 330_000) + "]\n",
		"a list in lines":       "type: Mesh\nname:\n" + strings.Repeat("- 1\n", 250_000),
		"words and words":       "type: Mesh\nname:\n" + strings.Repeat(" a b c d e f g\n", 65_000),
		"quotes of quotes":      "type: Mesh\nname: \"" + strings.Repeat(`\"`, 500_000) + "\"\n",
		"comments":              "type: Mesh\n" + strings.Repeat("#\n", 500_000) + "name: []\n",
		"40,000 values":         "type: Mesh\nname:\n" + strings.Repeat("- a: []\n", 19_990),
		"many documents in one": strings.Repeat("--- \ntype: Mesh\n", 50_000),
		"a long regex":          `{"type":"MeshHTTPRoute","mesh":"default","name":"x","spec":{"to":[{"rules":[{"matches":[{"path":{"type":"RegularExpression","value":"` + strings.Repeat("(a*)*", 100_000) + `"}}]}]}]}}`,
		"a doubling regex":      `{"type":"MeshHTTPRoute","mesh":"default","name":"x","spec":{"to":[{"rules":[{"matches":[{"path":{"type":"RegularExpression","value":"((((a{100}){100}){100}){100})"}}]}]}]}}`,
		"a looping template":    `{"type":"HostnameGenerator","name":"x","spec":{"template":"{{range $i := .Name}}` + strings.Repeat("{{range .Name}}", 1000) + `"}}`,
	}
}

func deepBlock(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"key-%d":%d,`, i, i)
	}
	return b.String()
}

// TestHostile wants each of them refused for little: what is allocated in all
// is what the garbage collector has to do, not what is held at once.
func TestHostile(t *testing.T) {
	const (
		mostCPU   = 500 * time.Millisecond // ten times what it takes on an idle machine
		mostBytes = 32 * api.MaxDocument
	)
	for name, doc := range hostile() {
		t.Run(name, func(t *testing.T) {
			if len(doc) > api.MaxDocument {
				t.Fatalf("has %d bytes: it is refused for that", len(doc))
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			cpu := spent(t)
			r, err := api.Decode([]byte(doc))
			if err == nil {
				err = r.Validate().Err()
			}
			cpu = spent(t) - cpu
			runtime.ReadMemStats(&after)
			bytes := after.TotalAlloc - before.TotalAlloc
			t.Logf("F28 %s: %d bytes cost %v of CPU and %d KiB, refused: %.80v", name, len(doc), cpu.Round(time.Millisecond), bytes>>10, err)
			if err == nil {
				t.Error("it is taken")
			} else if len(err.Error()) > 64<<10 {
				t.Errorf("the refusal has %d bytes", len(err.Error()))
			}
			if cpu > mostCPU {
				t.Errorf("took %v of CPU", cpu)
			}
			if bytes > mostBytes {
				t.Errorf("took %d bytes", bytes)
			}
		})
	}
}

// spent is the CPU time of this process so far.
func spent(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestDocumentsAreReadOneByOne: who stops at the first of very many has paid for
// no more.
func TestDocumentsAreReadOneByOne(t *testing.T) {
	many := []byte(strings.Repeat("---\n{type: Meshh}\n", 1<<16))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for d := range api.Documents(many) {
		if d.Err == nil || d.Index != 1 || d.Line != 1 {
			t.Errorf("%+v", d)
		}
		break
	}
	runtime.ReadMemStats(&after)
	if bytes := after.TotalAlloc - before.TotalAlloc; bytes > 1<<20 {
		t.Errorf("the first of them took %d bytes", bytes)
	}
}

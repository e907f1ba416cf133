package accesslog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/pkg/proxy"
)

func anyText(s string) *commonv1.AnyValue {
	return &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: s}}
}

// batch is what Envoy sends for one sink. LogsData looks like a request on the
// wire.
func batch(sink string, lines ...string) *logsv1.ResourceLogs {
	var records []*logsv1.LogRecord
	for i, l := range lines {
		records = append(records, &logsv1.LogRecord{TimeUnixNano: uint64(i), Body: anyText(l), TraceId: []byte("trace"), Attributes: []*commonv1.KeyValue{{Key: "a", Value: anyText("not a line")}}})
	}
	return &logsv1.ResourceLogs{
		Resource: &resourcev1.Resource{DroppedAttributesCount: 3, Attributes: []*commonv1.KeyValue{
			{Key: "other", Value: anyText("x")},
			{Key: "number", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_IntValue{IntValue: 7}}},
			{Key: proxy.LogSinkAttribute, Value: anyText(sink)},
		}},
		ScopeLogs: []*logsv1.ScopeLogs{{SchemaUrl: "x", LogRecords: records}},
		SchemaUrl: "y",
	}
}

func request(t *testing.T, batches ...*logsv1.ResourceLogs) []byte {
	t.Helper()
	b, err := proto.Marshal(&logsv1.LogsData{ResourceLogs: batches})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// decoded prints what a request says.
func decoded(body []byte) string {
	var b strings.Builder
	err := decode(body, func(sink string, lines [][]byte) {
		fmt.Fprintf(&b, "%s: %q\n", sink, lines)
	})
	if err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
	}
	return b.String()
}

func TestDecode(t *testing.T) {
	odd := request(t, batch("tcp:a:1", "agent=\"XX\""))
	odd = []byte(strings.ReplaceAll(string(odd), "XX", "\xff\xfe"))
	for _, c := range []struct {
		name string
		body []byte
		want string
	}{
		{"nothing", nil, ""},
		{"two lines", request(t, batch("file:/a", "one", "two")), "file:/a: [\"one\" \"two\"]\n"},
		{"two sinks", request(t, batch("file:/a", "one"), batch("tcp:b:1", "")), "file:/a: [\"one\"]\ntcp:b:1: [\"\"]\n"},
		{"no sink, no line", request(t, &logsv1.ResourceLogs{}), ": []\n"},
		{"what a caller sent is not UTF-8", odd, "tcp:a:1: [\"agent=\\\"\\xff\\xfe\\\"\"]\n"},
		{"torn", request(t, batch("file:/a", "one"))[:20], "error: not an export of logs\n"},
		{"not protobuf", []byte("GET / HTTP/1.1"), "error: not an export of logs\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, decoded(c.body)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	whole, err := proto.Marshal(&logsv1.LogsData{ResourceLogs: []*logsv1.ResourceLogs{batch("file:/a", "one", "two")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Fuzz(func(t *testing.T, body []byte) {
		size := 0
		_ = decode(body, func(_ string, lines [][]byte) {
			for _, l := range lines {
				size += len(l)
			}
		})
		if size > len(body) {
			t.Errorf("%d bytes of lines in %d bytes", size, len(body))
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	lines := make([]string, 200)
	for i := range lines {
		lines[i] = strings.Repeat("x", 300)
	}
	body, err := proto.Marshal(&logsv1.LogsData{ResourceLogs: []*logsv1.ResourceLogs{batch("file:/a", lines...)}})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := decode(body, func(string, [][]byte) {}); err != nil {
			b.Fatal(err)
		}
	}
}

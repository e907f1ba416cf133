package envoy

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestLogLines(t *testing.T) {
	tests := []struct {
		name   string
		writes []string
		want   string
	}{
		{"info", []string{"7.250 info main all clusters initialized\n"},
			"level=INFO msg=\"all clusters initialized\" component=envoy/main\n"},
		{"warning", []string{"7.250 warning config x\n"}, "level=WARN msg=x component=envoy/config\n"},
		{"critical", []string{"7.250 critical assert x\n"}, "level=ERROR+4 msg=x component=envoy/assert\n"},
		{"trace is below debug", []string{"7.250 trace http x\n"}, ""},
		{"a line in pieces", []string{"7.250 inf", "o ma", "in one\n7.250 info main two", "\n"},
			"level=INFO msg=one component=envoy/main\nlevel=INFO msg=two component=envoy/main\n"},
		{"spaces in the message", []string{"7.250 info main a b\n"}, "level=INFO msg=\"a b\" component=envoy/main\n"},
		{"not by the format", []string{"terminate called\n"}, "level=WARN msg=\"terminate called\" component=envoy/output\n"},
		{"no such level", []string{"7.250 loud main x\n"}, "level=WARN msg=\"7.250 loud main x\" component=envoy/output\n"},
		{"no end of line", []string{"7.250 error main last words"}, "level=ERROR msg=\"last words\" component=envoy/main\n"},
		{"empty lines", []string{"\n\n"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got bytes.Buffer
			l := &logLines{ctx: t.Context(), log: textLog(&got)}
			for _, w := range tt.writes {
				if n, err := l.Write([]byte(w)); n != len(w) || err != nil {
					t.Fatalf("Write = %d, %v", n, err)
				}
			}
			l.flush()
			if got.String() != tt.want {
				t.Errorf("got %q, want %q", got.String(), tt.want)
			}
		})
	}
}

func TestLogLineIsBounded(t *testing.T) {
	var got bytes.Buffer
	l := &logLines{ctx: t.Context(), log: textLog(&got)}
	chunk := []byte(strings.Repeat("x", 4000))
	for range 1000 {
		if _, err := l.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if cap(l.line) > 2*maxLine {
		t.Errorf("%d bytes are kept of a line without end", cap(l.line))
	}
	if _, err := l.Write([]byte("\n7.250 info main next\n")); err != nil {
		t.Fatal(err)
	}
	if n := got.Len(); n < maxLine || n > maxLine+500 {
		t.Errorf("%d bytes were logged, want little more than %d", n, maxLine)
	}
	if !strings.HasSuffix(got.String(), "level=INFO msg=next component=envoy/main\n") {
		t.Error("the line after it was lost")
	}
}

// textLog logs to b without times, from debug on.
func textLog(b *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

package envoy

import (
	"bytes"
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// logFormat makes Envoy write the time in seconds since 1970, level, component
// and message, parted by single spaces.
const logFormat = "%E.%e %l %n %v"

// maxLine is how much of one line is passed on, in bytes.
const maxLine = 16 << 10

// logLines is a writer that passes Envoy's output on, line by line. It is not
// safe for concurrent use.
type logLines struct {
	ctx  context.Context // handed to the log
	log  *slog.Logger
	line []byte // the part of a line that has arrived, maxLine+1 bytes at most
}

func (l *logLines) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		part, after, ended := bytes.Cut(rest, []byte("\n"))
		l.line = append(l.line, part[:min(len(part), maxLine+1-len(l.line))]...)
		if ended {
			l.flush()
		}
		rest = after
	}
	return len(p), nil
}

// flush passes on what there is of the last line.
func (l *logLines) flush() {
	if len(l.line) == 0 {
		return
	}
	text := string(l.line)
	if len(l.line) > maxLine {
		text = text[:maxLine] + " …"
	}
	l.line = l.line[:0]
	at, level, component, message := parseLine(text)
	if at.IsZero() {
		at = time.Now()
	}
	if !l.log.Enabled(l.ctx, level) {
		return
	}
	r := slog.NewRecord(at, level, message, 0)
	r.AddAttrs(slog.String("component", "envoy/"+component))
	_ = l.log.Handler().Handle(l.ctx, r) // as slog itself does
}

// parseLine parts a line of logFormat. What Envoy did not write by its format
// (a crash, a sanitizer) is worth a warning, and has no time.
func parseLine(line string) (at time.Time, level slog.Level, component, message string) {
	fields := strings.SplitN(line, " ", 4)
	if len(fields) == 4 {
		seconds, millis, _ := strings.Cut(fields[0], ".")
		s, err := strconv.ParseInt(seconds, 10, 64)
		ms, _ := strconv.ParseInt(millis, 10, 64)
		if level, ok := levels[fields[1]]; ok && err == nil {
			return time.Unix(s, ms*int64(time.Millisecond)), level, fields[2], fields[3]
		}
	}
	return time.Time{}, slog.LevelWarn, "output", line
}

// levels are Envoy's words for slog's levels.
var levels = map[string]slog.Level{
	"trace":    slog.LevelDebug - 4,
	"debug":    slog.LevelDebug,
	"info":     slog.LevelInfo,
	"warning":  slog.LevelWarn,
	"error":    slog.LevelError,
	"critical": slog.LevelError + 4,
}

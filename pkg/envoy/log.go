package envoy

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
)

// logFormat makes Envoy write level, component and message, parted by single spaces.
const logFormat = "%l %n %v"

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
	level, component, message := parseLine(text)
	l.log.LogAttrs(l.ctx, level, message, slog.String("component", "envoy/"+component))
}

// parseLine parts a line of logFormat. What Envoy did not write by its format
// (a crash, a sanitizer) is worth a warning.
func parseLine(line string) (level slog.Level, component, message string) {
	fields := strings.SplitN(line, " ", 3)
	if len(fields) == 3 {
		if level, ok := levels[fields[0]]; ok {
			return level, fields[1], fields[2]
		}
	}
	return slog.LevelWarn, "output", line
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

package settings

import (
	"fmt"
	"io"
	"log/slog"
)

// Logger makes the log that level ("debug", "info", "warn", "error") and
// format ("text", "json") ask for.
func Logger(w io.Writer, level, format string) (*slog.Logger, error) {
	return LeveledLogger(w, new(slog.LevelVar), level, format)
}

// LeveledLogger is Logger with a level that can change later.
func LeveledLogger(w io.Writer, of *slog.LevelVar, level, format string) (*slog.Logger, error) {
	if err := of.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log-level %q is none of debug, info, warn, error", level)
	}
	opts := &slog.HandlerOptions{Level: of}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	default:
		return nil, fmt.Errorf("log-format %q is neither text nor json", format)
	}
}

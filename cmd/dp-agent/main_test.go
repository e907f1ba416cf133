package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

func TestCommandsTellRemedies(t *testing.T) {
	none := filepath.Join(t.TempDir(), "agent.yaml")
	tests := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"version"}, 0, version},
		{[]string{"run", "-c", none}, exitUsage, "join this host first: weft-agent join TOKEN"},
		{[]string{"status", "-c", none}, exitUsage, "join this host first: weft-agent join TOKEN"},
		{[]string{"leave", "-c", none}, 0, "this host has not joined"},
		{[]string{"join", "-c", none}, exitUsage, "takes one token"},
		{[]string{"join", "weft1.abc", "-c", none}, exitFault, "copy the whole word again"},
		{[]string{"frobnicate"}, exitUsage, "unknown command"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args[:1], " "), func(t *testing.T) {
			var out bytes.Buffer
			code := run(t.Context(), tt.args, func(string) string { return "" }, strings.NewReader(""), &out, &out)
			if code != tt.code || !strings.Contains(out.String(), tt.want) {
				t.Errorf("code %d, %s; want code %d and %q", code, out.String(), tt.code, tt.want)
			}
		})
	}
}

func TestConfigurationOfAnother(t *testing.T) {
	err := remedied(fmt.Errorf("open: %w", fs.ErrPermission))
	if !strings.Contains(err.Error(), "as root") {
		t.Errorf("no remedy: %v", err)
	}
}

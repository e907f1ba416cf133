package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/windows"
)

func systemVersion() string {
	v := windows.RtlGetVersion()
	return fmt.Sprintf("Windows %d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)
}

func examineLimits(context.Context, patient) []Check { return nil }

func tightLimits(string) []tight { return nil }

func limitsOfAgent(context.Context, Config) ([]byte, error) {
	return nil, errors.New("this system has none that can be told")
}

func ownerOf(fs.FileInfo) string { return "?" }

type tight struct{ text, remedy string }

func stayBelow() {}

// fewBytes is below how much free space a folder is as good as full.
const fewBytes = 16 << 20

func examineDisk(_ context.Context, p patient) []Check {
	var free uint64
	dir, err := windows.UTF16PtrFromString(p.cfg.StateDir)
	if err != nil || windows.GetDiskFreeSpaceEx(dir, &free, nil, nil) != nil {
		return nil // made by join
	}
	if free < fewBytes {
		return ill("make room", "%s has %d MiB left", p.cfg.StateDir, free>>20)
	}
	return fine("%s has room", p.cfg.StateDir)
}

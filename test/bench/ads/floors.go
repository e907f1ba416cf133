//go:build linux

package main

import (
	"context"
	"io"
)

const floorCommand = "floor"

func serveFloor(context.Context, []string, io.Writer) error { return nil }

func floors(context.Context, config, *table) error { return nil }

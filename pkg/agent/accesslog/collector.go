package accesslog

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// A collector is a destination by TCP. It is connected while there are lines.
type collector struct {
	address string
	dial    func(ctx context.Context, address string) (net.Conn, error)
	conn    net.Conn
	gone    *atomic.Bool // the collector has closed conn
}

// connectTimeout is how long a collector may take to accept.
const connectTimeout = 5 * time.Second

func (c *collector) open(ctx context.Context) (fresh bool, err error) {
	if c.conn != nil && c.gone.Load() {
		c.close()
	}
	if c.conn != nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := c.dial(ctx, c.address)
	if err != nil {
		return true, err
	}
	c.conn, c.gone = conn, new(atomic.Bool)
	go listenFor(conn, c.gone)
	return true, nil
}

func (c *collector) write(ctx context.Context, p []byte) (n int, err error) {
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		c.close()
		return 0, err
	}
	stop := context.AfterFunc(ctx, expire(c.conn))
	defer stop()
	if n, err = c.conn.Write(p); err != nil {
		c.close()
	}
	return n, err
}

// expire ends a write that is under way.
func expire(w interface{ SetWriteDeadline(time.Time) error }) func() {
	return func() { _ = w.SetWriteDeadline(time.Now()) }
}

// listenFor notices that the other end goes: what is written after that is
// lost, so that the next write has to begin with a connection of its own. What
// a collector says is passed over.
func listenFor(conn net.Conn, gone *atomic.Bool) {
	_, err := io.Copy(io.Discard, conn)
	if !errors.Is(err, net.ErrClosed) {
		gone.Store(true)
	}
}

func (c *collector) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

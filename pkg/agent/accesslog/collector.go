package accesslog

import (
	"context"
	"net"
	"time"
)

// A collector is a destination by TCP. It is connected while there are lines.
type collector struct {
	address string
	dial    func(ctx context.Context, address string) (net.Conn, error)
	conn    net.Conn
}

// connectTimeout is how long a collector may take to accept.
const connectTimeout = 5 * time.Second

func (c *collector) open(ctx context.Context) (fresh bool, err error) {
	// What is written to one that has gone is lost.
	if c.conn != nil && gone(c.conn) {
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
	c.conn = conn
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

func (c *collector) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

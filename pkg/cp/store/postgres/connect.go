package postgres

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrDSN is what errors of a DSN wrap that can never work.
var ErrDSN = errors.New("the DSN of the store")

const (
	// poolSize is for reads and the one commit at a time, where the DSN says
	// no other (pool_max_conns).
	poolSize       = 8
	connectTimeout = 3 * time.Second
	// abandoned is after how long the server ends the session of a replica that
	// has stopped in the middle of a transaction: until then it holds up every
	// writer.
	abandoned = 2 * time.Second
	lockWait  = writeTimeout
)

// oldest is the oldest version of PostgreSQL that is served.
const oldest = 15

// parse reads the DSN. What Weft needs of a session is set here.
func parse(o Options) (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(o.DSN)
	if err != nil {
		return nil, fmt.Errorf("%w cannot be read: %w", ErrDSN, err) // its words have the password masked
	}
	if c.MaxConns < poolSize && !strings.Contains(o.DSN, "pool_max_conns") {
		c.MaxConns = poolSize
	}
	if c.MaxConns < 2 {
		return nil, fmt.Errorf("%w: pool_max_conns is %d, must be 2 or more", ErrDSN, c.MaxConns)
	}
	cc := c.ConnConfig
	if cc.ConnectTimeout == 0 || cc.ConnectTimeout > connectTimeout {
		cc.ConnectTimeout = connectTimeout
	}
	if cc.ValidateConnect == nil { // a standby takes no writes
		cc.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	p := cc.RuntimeParams
	p["application_name"] = cmp.Or(p["application_name"], "weft-cp")
	p["idle_in_transaction_session_timeout"] = strconv.FormatInt(abandoned.Milliseconds(), 10)
	p["lock_timeout"] = strconv.FormatInt(lockWait.Milliseconds(), 10)
	if err := secure(cc, o); err != nil {
		return nil, err
	}
	c.AfterConnect = durably
	c.HealthCheckPeriod = 10 * time.Second
	return c, nil
}

// secure sees to it that the server is known, wherever the way to it leaves
// this machine.
func secure(c *pgx.ConnConfig, o Options) error {
	if o.TLSCA != "" || o.TLSCert != "" {
		if err := checkFiles(o); err != nil {
			return err
		}
		c.TLSConfig = tlsFor(c.Host, o)
		for _, f := range c.Fallbacks {
			f.TLSConfig = tlsFor(f.Host, o)
		}
	}
	ends := []struct {
		host string
		tls  *tls.Config
	}{{c.Host, c.TLSConfig}}
	for _, f := range c.Fallbacks {
		ends = append(ends, struct {
			host string
			tls  *tls.Config
		}{f.Host, f.TLSConfig})
	}
	for _, e := range ends {
		// sslmode=disable is somebody's word; prefer, allow and require trust
		// whoever answers.
		if e.tls != nil && e.tls.InsecureSkipVerify && e.tls.VerifyPeerCertificate == nil && !local(e.host) {
			return fmt.Errorf("%w: with its sslmode anybody could answer for %s: name the authority (--store-tls-ca, or sslmode=verify-full), or say sslmode=disable where nobody else is on the way", ErrDSN, e.host)
		}
	}
	return nil
}

func local(host string) bool {
	if strings.HasPrefix(host, "/") || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func checkFiles(o Options) error {
	if _, err := roots(o.TLSCA); err != nil {
		return err
	}
	if o.TLSCert != "" {
		if _, err := tls.LoadX509KeyPair(o.TLSCert, o.TLSKey); err != nil {
			return fmt.Errorf("certificate for the store: %w", err)
		}
	}
	return nil
}

// roots reads the authorities by which the server is known; "" is the system's.
func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // the system's
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("authority of the store: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("authority of the store: %s holds no certificate", file)
	}
	return pool, nil
}

// tlsFor verifies the server by name and authority. Files are read for each
// handshake, so that renewed ones count.
func tlsFor(host string, o Options) *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: host,
		// Verified below, against the file as it is then.
		InsecureSkipVerify:    true, //nolint:gosec // see VerifyConnection
		VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error { return nil },
		VerifyConnection: func(s tls.ConnectionState) error {
			pool, err := roots(o.TLSCA)
			if err != nil {
				return err
			}
			between := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				between.AddCert(c)
			}
			_, err = s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, DNSName: host})
			return err
		},
	}
	if o.TLSCert != "" {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.TLSCert, o.TLSKey)
			return &pair, err
		}
	}
	return c
}

// durably makes a session whose commits wait for the disk.
func durably(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
	return err
}

func connect(ctx context.Context, o Options) (*pgxpool.Pool, error) {
	c, err := parse(o)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connect to the store: %w", err)
	}
	if err := check(ctx, pool, o); err != nil {
		pool.Close()
		return nil, fmt.Errorf("connect to the store: %w", err)
	}
	return pool, nil
}

// check refuses a server on which Weft would not be safe.
func check(ctx context.Context, pool *pgxpool.Pool, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, 2*connectTimeout)
	defer cancel()
	var version int
	var encoding, fsync, schema string
	err := pool.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
		current_setting('fsync'), coalesce(current_schema(), '')`).Scan(&version, &encoding, &fsync, &schema)
	switch {
	case err != nil:
		return judge(err)
	case version/10000 < oldest:
		return fmt.Errorf("it is PostgreSQL %d, %d is the oldest that is served", version/10000, oldest)
	case encoding != "UTF8":
		return fmt.Errorf("its encoding is %s, must be UTF8: make the database with ENCODING 'UTF8'", encoding)
	case schema == "":
		return errors.New("no schema of its search_path is there: make one, or name another in the DSN")
	}
	if fsync != "on" && o.Log != nil {
		o.Log.Warn("database does not wait for its disk: what was acknowledged is lost when its machine stops", "fsync", fsync)
	}
	return nil
}

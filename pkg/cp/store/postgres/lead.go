package postgres

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weft-mesh/weft/pkg/cp/store"
)

// leadEvery is how often who does not lead asks whether he may.
const leadEvery = 500 * time.Millisecond

// A leadership is an advisory lock of a session of its own, which the server
// ends when it hears nothing of it for LeaseTime: a leader that was stopped or
// cut off holds nobody up. The epoch fences what he may still write.
type leadership struct {
	conn  *pgx.Conn
	epoch int64
}

// Lead implements store.Board.
func (s *Store) Lead(ctx context.Context, replica string) (store.Leadership, error) {
	l, err := s.lead(ctx, replica)
	if err != nil {
		return nil, fmt.Errorf("become the leader: %w", judge(err))
	}
	return l, nil
}

func (s *Store) lead(ctx context.Context, replica string) (_ *leadership, err error) {
	config := s.pool.Config().ConnConfig
	config.RuntimeParams["idle_session_timeout"] = strconv.FormatInt(store.LeaseTime.Milliseconds(), 10)
	opening, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	l := new(leadership)
	if l.conn, err = pgx.ConnectConfig(opening, config); err != nil {
		return nil, err
	}
	defer func() { //nolint:contextcheck // it must reach the server when ctx has ended
		if err != nil {
			l.Release()
		}
	}()
	for {
		var mine bool
		if err := l.ask(ctx, &mine, "SELECT pg_try_advisory_lock("+lockKey+")", "leader"); err != nil {
			return nil, err
		}
		if mine {
			return l, l.ask(ctx, &l.epoch, "UPDATE state SET epoch = epoch + 1, leader = $1 RETURNING epoch", replica)
		}
		wait(ctx, leadEvery)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

func (l *leadership) ask(ctx context.Context, answer any, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, store.LeaseTime/3)
	defer cancel()
	return l.conn.QueryRow(ctx, sql, args...).Scan(answer)
}

// Epoch implements store.Leadership.
func (l *leadership) Epoch() int64 { return l.epoch }

// Hold implements store.Leadership.
func (l *leadership) Hold(ctx context.Context) error {
	var now int64
	if err := l.ask(ctx, &now, "SELECT epoch FROM state"); err != nil {
		return fmt.Errorf("stay the leader: %w", judge(err))
	}
	if now != l.epoch {
		return fmt.Errorf("stay the leader in epoch %d, now is %d: %w", l.epoch, now, store.ErrFenced)
	}
	return nil
}

// Release implements store.Leadership.
func (l *leadership) Release() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = l.conn.Close(ctx)
}

package store

import (
	"context"
	"time"
)

// A Board is where replicas that share a store tell each other what is true
// now. What is on it is worth no backup, and may vanish at any moment. Its
// clock is one for all.
type Board interface {
	// Post puts up notes of a replica, each in the place of its note of the
	// same topic and name. One without a body takes that away.
	Post(ctx context.Context, replica string, notes []Note) error
	// Notes returns what was posted, or taken away, since; zero: what is there.
	Notes(ctx context.Context, since time.Time) ([]Note, Moment, error)
	// Clean forgets what was posted before, and all that was taken away then.
	Clean(ctx context.Context, before time.Time) error
	// Lead waits until this replica is the leader. There is one at most; who
	// does not Hold it loses it to another within LeaseTime.
	Lead(ctx context.Context, replica string) (Leadership, error)
	// Claim returns the fingerprint that was claimed first.
	Claim(ctx context.Context, fingerprint string) (first string, err error)
}

// LeaseTime is how long a leader that is not heard of stays the leader.
const LeaseTime = 3 * time.Second

// A Note is what one replica says of one thing.
type Note struct {
	Topic, Name, Replica string
	Body                 []byte // empty: taken away
	Posted               time.Time
}

// A Moment is one of the board's clock.
type Moment struct {
	Now time.Time
	// Life is another one when the board may have lost what was on it.
	Life string
}

// A Leadership is held by one replica.
type Leadership interface {
	// Epoch is greater than that of every leader before, see WithFence.
	Epoch() int64
	// Hold shows that the leader is there. When it fails he is none any more.
	Hold(ctx context.Context) error
	Release()
}

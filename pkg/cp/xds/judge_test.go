package xds

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/fakeenvoy"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A stream lives no longer than its credential, however the end of that comes
// to be known.
func TestStreamEndsWithItsCredential(t *testing.T) {
	tests := []struct {
		name  string
		every time.Duration
		told  bool
	}{
		{"when its mesh is judged", time.Hour, true},
		{"by and by", 20 * time.Millisecond, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorldThatJudges(t, tt.every)
			w.give(t, web, bundleOf(time.Second, "api"))
			w.give(t, other, bundleOf(time.Second, "api"))
			c, stays := open(t, w, web, fakeenvoy.Options{}), open(t, w, other, fakeenvoy.Options{World: true})
			for _, c := range []*fakeenvoy.Client{c, stays} {
				c.Wait(t, "its route", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Routes, "to-api") })
			}

			// What says nothing about the proxy costs it nothing.
			w.tokens.refuse(web, status.Error(codes.Internal, "the store is away"))
			w.Judge("default")
			eventually(t, "the store was asked", func() bool { return strings.Contains(w.log.String(), "could not be looked at again") })

			w.tokens.refuse(web, errors.New("the token was revoked"))
			if tt.told {
				w.Judge("nowhere")
				w.Judge("default")
			}
			if err := c.WaitEnd(t); status.Code(err) != codes.Unauthenticated {
				t.Errorf("ended with %v", err)
			}
			eventually(t, "only the other one is connected", func() bool { got := w.Connected(); return len(got) == 1 && got[0] == other })
		})
	}
}

// What is taken back after a stream was let in and before it is among those
// that are judged ends it all the same.
func TestStreamIsJudgedOnceItCanBeEnded(t *testing.T) {
	w := newWorldThatJudges(t, time.Hour)
	w.give(t, web, bundleOf(time.Second, "api"))
	w.connect = func(id proxy.ID) error {
		w.tokens.refuse(id, errors.New("the token was revoked"))
		return nil
	}
	if err := open(t, w, web, fakeenvoy.Options{}).WaitEnd(t); status.Code(err) != codes.Unauthenticated {
		t.Errorf("ended with %v", err)
	}
}

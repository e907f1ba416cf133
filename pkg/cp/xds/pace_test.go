package xds

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/internal/fakeenvoy"
	"github.com/weft-mesh/weft/pkg/proxy"
)

func TestPacer(t *testing.T) {
	p, now := newPacer(), time.Unix(0, 0)
	for i := range openBurst {
		if d := p.due(web, now); d != 0 {
			t.Errorf("stream %d of a burst waits for %s", i+1, d)
		}
	}
	for i := range 3 {
		if d, want := p.due(web, now), time.Duration(i+1)*openInterval; d != want {
			t.Errorf("stream %d beyond the burst waits for %s, want %s", i+1, d, want)
		}
	}
	if d := p.due(other, now); d != 0 {
		t.Errorf("another proxy waits for %s", d)
	}
	now = now.Add((openBurst + 3) * openInterval)
	if d := p.due(web, now); d != 0 {
		t.Errorf("after as long as all took it waits for %s", d)
	}

	for i := range 5000 { // come once and never again, one in each millisecond
		p.due(proxy.ID{Mesh: "m", Name: fmt.Sprint(i)}, now.Add(time.Duration(i)*time.Millisecond))
	}
	if n := len(p.next); n > 4096 {
		t.Errorf("%d proxies are remembered", n)
	}
}

// A proxy that comes back in a loop is slowed; others are not.
func TestWhoComesBackInALoopIsSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *Server
		s = New(Config{Auth: &tokens{}, Connect: func(_ context.Context, id proxy.ID) error {
			b, err := s.Encode(parts(bundleOf(time.Second, "api")), nil)
			if err == nil {
				s.Publish(id, b)
			}
			return err
		}})
		conn := bubble(t, s)
		served := func(id proxy.ID) time.Duration {
			began := time.Now()
			c := fakeenvoy.Open(t, conn, fakeenvoy.Options{Node: id.String(), Token: id.String(), Bare: true})
			c.Ask(fakeenvoy.Clusters)
			c.Wait(t, "its cluster", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Clusters, "api") })
			c.Close()
			synctest.Wait()
			return time.Since(began)
		}
		began := time.Now()
		for range openBurst + 5 {
			served(web)
		}
		if took := time.Since(began); took < 5*openInterval {
			t.Errorf("%d streams one after the other took %s", openBurst+5, took)
		}
		if took := served(other); took != 0 {
			t.Errorf("another proxy had to wait for %s", took)
		}
	})
}

// A proxy that refuses everything is told once of each change, as others are.
func TestWhoRefusesEverythingIsNotToldAgain(t *testing.T) {
	modes(t, func(t *testing.T, sotw bool) {
		w := newWorld(t)
		no := func(string, string) string { return "no" }
		w.give(t, web, bundleOf(time.Second, "api"))
		w.give(t, other, bundleOf(time.Second, "api"))
		c := open(t, w, web, fakeenvoy.Options{World: sotw, Refuse: no})
		beside := open(t, w, other, fakeenvoy.Options{World: sotw})
		beside.Wait(t, "its route", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Routes, "to-api") })
		c.Wait(t, "what it refuses", func(s fakeenvoy.State) bool { return s.Count(fakeenvoy.Clusters) == 1 })
		for i := range 20 {
			w.give(t, web, bundleOf(time.Duration(i+2)*time.Second, "api"))
			w.give(t, other, bundleOf(time.Duration(i+2)*time.Second, "api"))
			beside.Wait(t, "the change", func(s fakeenvoy.State) bool { return s.Count(fakeenvoy.Clusters) >= i+2 && len(s.Warming) == 0 })
		}
		if n, most := c.State().Count(fakeenvoy.Clusters), beside.State().Count(fakeenvoy.Clusters); n > most {
			t.Errorf("it was told %d times of %d changes", n, most)
		}
	})
}

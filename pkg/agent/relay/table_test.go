package relay

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// A model plays control plane and Envoy to a table, by chance. Envoy refuses
// versions that end with "!".
type model struct {
	table
	rnd   *rand.Rand
	seq   int
	nonce int
	// The control plane: what it wants, and what it believes the relay has.
	world  [kindCount]map[string]string
	known  [kindCount]map[string]string
	subs   [kindCount]map[string]bool
	opened [kindCount]bool
	unsaid [kindCount]bool // a response is not answered
	hailed [kindCount]bool // something was said
	linked bool
	// Envoy: what it runs and asked for, what it has not answered yet.
	runs     [kindCount]map[string]string
	names    [kindCount]map[string]bool
	inbox    []*deltaResponse
	attached bool
	saved    kept // on disk
}

var modelKinds = []int{clusters, endpoints, secrets, listeners, routes}

func newModel(seed uint64) *model {
	m := &model{table: newTable(), rnd: rand.New(rand.NewPCG(seed, 1))}
	for i := range kindCount {
		m.world[i] = map[string]string{}
		m.runs[i] = map[string]string{}
		m.names[i] = map[string]bool{}
	}
	return m
}

func (m *model) name() string { return fmt.Sprintf("r%d", m.rnd.IntN(5)) }
func (m *model) kind() int    { return modelKinds[m.rnd.IntN(len(modelKinds))] }

func (m *model) change() {
	i, n := m.kind(), m.name()
	m.seq++
	switch {
	case m.rnd.IntN(4) == 0:
		delete(m.world[i], n)
	case m.rnd.IntN(5) == 0:
		m.world[i][n] = fmt.Sprintf("%d!", m.seq)
	default:
		m.world[i][n] = fmt.Sprint(m.seq)
	}
}

func (m *model) link() {
	m.connected()
	m.linked = true
	for i := range kindCount {
		m.known[i], m.subs[i] = map[string]string{}, map[string]bool{}
		m.opened[i], m.unsaid[i], m.hailed[i] = false, false, false
	}
}

// up lets the control plane hear one request and send one response.
func (m *model) up() {
	if !m.linked {
		return
	}
	if req := m.ask(); req != nil {
		i := kindOf(req.TypeUrl)
		if !m.opened[i] {
			m.opened[i] = true
			maps.Copy(m.known[i], req.InitialResourceVersions)
		}
		for _, n := range req.ResourceNamesUnsubscribe {
			delete(m.subs[i], n)
			delete(m.known[i], n)
		}
		for _, n := range req.ResourceNamesSubscribe {
			m.subs[i][n] = true
			if _, ok := m.known[i][n]; !ok {
				m.known[i][n] = "" // to be told if it does not exist
			}
		}
		if req.ResponseNonce != "" {
			m.unsaid[i] = false
		}
	}
	for _, i := range modelKinds {
		if !m.opened[i] || m.unsaid[i] {
			continue
		}
		resp := &deltaResponse{}
		for n, v := range m.world[i] {
			if (kinds[i].all || m.subs[i][n]) && m.known[i][n] != v {
				resp.Resources = append(resp.Resources, &discoveryv3.Resource{Name: n, Version: v, Resource: &anypb.Any{}})
				m.known[i][n] = v
			}
		}
		for n := range m.known[i] {
			if _, ok := m.world[i][n]; !ok {
				resp.RemovedResources = append(resp.RemovedResources, n)
				delete(m.known[i], n)
			}
		}
		hail := kinds[i].all && !m.hailed[i] // as the real one does
		if len(resp.Resources)+len(resp.RemovedResources) > 0 || hail {
			m.hailed[i] = true
			m.nonce++
			resp.Nonce = fmt.Sprint(m.nonce)
			m.unsaid[i] = true
			m.table[i].update(resp)
			m.table[i].settle()
			return
		}
	}
}

// restart ends the relay, and begins it anew with what was saved last.
func (m *model) restart() {
	m.table = resume(&m.saved)
	m.linked, m.attached, m.inbox = false, false, nil
}

// save keeps what is accepted, as the relay does from time to time.
func (m *model) save(t *testing.T, seed uint64) {
	m.saved = m.snapshot()
	for i, kk := range m.saved {
		for _, res := range kk.resources {
			if strings.HasSuffix(res.Version, "!") {
				t.Fatalf("seed %d: %s %s is kept at the refused version %s", seed, kinds[i].name, res.Name, res.Version)
			}
		}
	}
}

// attach connects Envoy: the same with what it runs, or a new one.
func (m *model) attach(fresh bool) {
	m.table.attached()
	m.attached, m.inbox = true, nil
	for _, i := range modelKinds {
		if fresh {
			m.runs[i], m.names[i] = map[string]string{}, map[string]bool{}
		}
		if kinds[i].all || len(m.names[i]) > 0 {
			m.say(i, &deltaRequest{
				InitialResourceVersions: maps.Clone(m.runs[i]),
				ResourceNamesSubscribe:  slices.Sorted(maps.Keys(m.names[i])),
			})
		}
	}
}

func (m *model) say(i int, req *deltaRequest) {
	if _, err := m.hear(i, req, time.Time{}); err != nil {
		panic(err)
	}
}

// subscribe has Envoy ask for, or give up, one name.
func (m *model) subscribe() {
	i := []int{endpoints, secrets, routes}[m.rnd.IntN(3)]
	n := m.name()
	if !m.attached {
		return
	}
	if m.names[i][n] {
		delete(m.names[i], n)
		delete(m.runs[i], n)
		m.say(i, &deltaRequest{ResourceNamesUnsubscribe: []string{n}})
	} else {
		m.names[i][n] = true
		m.say(i, &deltaRequest{ResourceNamesSubscribe: []string{n}})
	}
}

func (m *model) down() {
	if !m.attached {
		return
	}
	m.nonce++
	if resp := m.offer(fmt.Sprint(m.nonce)); resp != nil {
		m.inbox = append(m.inbox, resp)
	}
}

// react has Envoy answer its oldest response.
func (m *model) react() {
	if !m.attached || len(m.inbox) == 0 {
		return
	}
	resp := m.inbox[0]
	m.inbox = m.inbox[1:]
	i := kindOf(resp.TypeUrl)
	req := &deltaRequest{ResponseNonce: resp.Nonce}
	for _, res := range resp.Resources {
		if strings.HasSuffix(res.Version, "!") {
			req.ErrorDetail = errorDetail("bad")
		}
	}
	for _, res := range resp.Resources { // as Envoy does, it takes the good ones of a bad lot
		if !strings.HasSuffix(res.Version, "!") && (kinds[i].all || m.names[i][res.Name]) {
			m.runs[i][res.Name] = res.Version
		}
	}
	for _, n := range resp.RemovedResources {
		delete(m.runs[i], n)
	}
	m.say(i, req)
}

// TestTableConverges plays by chance and then, with both sides connected and
// nothing new, wants Envoy to run exactly what the control plane wants, except
// where that is bad, and every response to be answered.
func TestTableConverges(t *testing.T) {
	for seed := range uint64(1000) {
		m := newModel(seed)
		for range 200 {
			switch m.rnd.IntN(16) {
			case 0, 1, 2:
				m.change()
			case 3, 4, 5, 6:
				m.up()
			case 7, 8, 9:
				m.down()
			case 10, 11, 12:
				m.react()
			case 13:
				m.subscribe()
			case 14:
				switch m.rnd.IntN(8) {
				case 0, 1:
					m.link()
				case 2:
					m.restart()
				case 3, 4, 5:
					m.save(t, seed)
				}
			case 15:
				switch m.rnd.IntN(8) {
				case 0:
					m.attach(true)
				case 1:
					m.attach(false)
				case 2:
					m.detached()
					m.attached = false
				}
			}
			for _, i := range modelKinds {
				if v := m.table[i].view; v.open && v.out == nil && len(m.inbox) >= len(modelKinds) {
					t.Fatalf("seed %d: %d responses under way", seed, len(m.inbox))
				}
			}
		}
		if !m.linked {
			m.link()
		}
		if !m.attached {
			m.attach(m.rnd.IntN(2) == 0)
		}
		for range 400 {
			m.up()
			m.down()
			m.react()
		}
		m.check(t, seed)
	}
}

func (m *model) check(t *testing.T, seed uint64) {
	t.Helper()
	for _, i := range modelKinds {
		if m.unsaid[i] && (kinds[i].all || len(m.names[i]) > 0) {
			t.Fatalf("seed %d: a response about %s was never answered", seed, kinds[i].name)
		}
		for n, want := range m.world[i] {
			if !kinds[i].all && !m.names[i][n] {
				continue
			}
			got := m.runs[i][n]
			if strings.HasSuffix(want, "!") {
				if ref, ok := m.table[i].refused[n]; !ok || ref.version != want {
					t.Fatalf("seed %d: refusal of %s %s=%s is not known", seed, kinds[i].name, n, want)
				}
				if a := m.table[i].accepted[n].GetVersion(); a != "" && a != got {
					t.Fatalf("seed %d: %s %s: Envoy runs %q, %q is believed", seed, kinds[i].name, n, got, a)
				}
				continue
			}
			if got != want {
				t.Fatalf("seed %d: %s %s: Envoy runs %q, want %q", seed, kinds[i].name, n, got, want)
			}
		}
		for n := range m.runs[i] {
			if _, ok := m.world[i][n]; !ok {
				t.Fatalf("seed %d: %s %s is gone and Envoy still runs it", seed, kinds[i].name, n)
			}
		}
		for n := range m.table[i].accepted {
			if strings.HasSuffix(m.table[i].accepted[n].Version, "!") {
				t.Fatalf("seed %d: %s %s: a refused version was kept as accepted", seed, kinds[i].name, n)
			}
		}
	}
}

//go:build linux

package nftables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

var _ redirect.Planner = (*Engine)(nil)

// Plan tells what Apply would send now: the very messages, in nft's words.
func (e *Engine) Plan(ctx context.Context, r redirect.Rules) (redirect.Plan, error) {
	differences, err := e.Check(ctx, r)
	if err != nil {
		return redirect.Plan{}, err
	}
	want, err := wish(r)
	if err != nil {
		return redirect.Plan{}, wrap("plan", r.Normal().Table, err)
	}
	p, err := plan(want)
	p.Differences = differences
	return p, wrap("plan", want.table, err)
}

func plan(want ruleset) (p redirect.Plan, err error) {
	have, err := read(want.table)
	if err != nil {
		return p, err
	}
	table, err := compareTable(want, have)
	if err != nil {
		return p, err
	}
	before, after := have.routes.Plan(want.routes, have.otherVIPs).Texts()
	p.Steps = routeSteps(before)
	var steps []step
	trial, onTrial := want.trial()
	switch {
	case len(table) > 0:
		steps = want.steps(have)
	case onTrial:
		steps = append(steps, step{want, func(t *transaction) error { return t.renew(trial) }})
	}
	for _, step := range steps {
		text, err := step.rules.dictate(step.fill)
		if err != nil {
			return p, err
		}
		p.Steps = append(p.Steps, redirect.Step{By: "nf_tables", Text: text})
	}
	p.Steps = append(p.Steps, routeSteps(after)...)
	return p, nil
}

func routeSteps(texts []string) (out []redirect.Step) {
	for _, text := range texts {
		out = append(out, redirect.Step{By: "rtnetlink", Text: text})
	}
	return out
}

// dictate fills a transaction and puts into words what it would have sent.
func (want ruleset) dictate(step func(t *transaction) error) (string, error) {
	sent, err := encode(want.table, step)
	if err != nil {
		return "", err
	}
	var d dictation
	for _, m := range sent {
		if err := d.take(want, m); err != nil {
			return "", fmt.Errorf("put a message of type %#x into words: %w", m.Header.Type, err)
		}
	}
	return d.text.String(), nil
}

// encode returns the messages of a transaction, which nobody gets.
func encode(table string, step func(t *transaction) error) (sent []netlink.Message, err error) {
	conn, err := nftables.New(nftables.WithTestDial(func(m []netlink.Message) ([]netlink.Message, error) {
		sent = append(sent, m...)
		return nil, io.EOF
	}))
	if err != nil {
		return nil, err
	}
	t := &transaction{conn: conn, table: &nftables.Table{Name: table, Family: nftables.TableFamilyINet}}
	return sent, errors.Join(step(t), conn.Flush())
}

// A dictation writes messages as nft's commands.
type dictation struct {
	text strings.Builder
	last string // the set to which elements were added by the last message
}

func (d *dictation) take(want ruleset, m netlink.Message) error {
	typ := uint16(m.Header.Type)
	if typ>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < nfgenmsgLen {
		return nil // begin and end of a batch
	}
	a, err := parse(m.Data[nfgenmsgLen:])
	if err != nil {
		return err
	}
	last := d.last
	d.last = ""
	say := func(format string, args ...any) { fmt.Fprintf(&d.text, format+"\n", args...) }
	switch typ & 0xff {
	case unix.NFT_MSG_NEWTABLE:
		say("add table inet %s", a.text(unix.NFTA_TABLE_NAME))
	case unix.NFT_MSG_DELTABLE:
		say("delete table inet %s", a.text(unix.NFTA_TABLE_NAME))
	case unix.NFT_MSG_NEWCHAIN:
		return d.chain(want, a.text(unix.NFTA_CHAIN_NAME))
	case unix.NFT_MSG_DELCHAIN:
		say("delete chain inet %s %s", want.table, a.text(unix.NFTA_CHAIN_NAME))
	case unix.NFT_MSG_NEWSET:
		return d.set(want, a.text(unix.NFTA_SET_NAME), "add set inet %s %s { %s }", set.declaration)
	case unix.NFT_MSG_DELSET:
		say("delete set inet %s %s", want.table, a.text(unix.NFTA_SET_NAME))
	case unix.NFT_MSG_NEWSETELEM:
		d.last = a.text(unix.NFTA_SET_ELEM_LIST_SET)
		if d.last == last {
			return nil // the rest of many, told with the first
		}
		return d.set(want, d.last, "add element inet %s %s { %s }", func(s set) string { return strings.Join(s.text, ", ") })
	case unix.NFT_MSG_DELSETELEM:
		return d.set(want, a.text(unix.NFTA_SET_ELEM_LIST_SET), "delete element inet %s %s { %s }", set.keys)
	case unix.NFT_MSG_DELRULE:
		say("flush chain inet %s %s", want.table, a.text(unix.NFTA_RULE_CHAIN))
	case unix.NFT_MSG_NEWRULE:
		return d.rule(want, a.text(unix.NFTA_RULE_CHAIN), comment(a[unix.NFTA_RULE_USERDATA]))
	default:
		return errors.New("it is not known")
	}
	return nil
}

func (d *dictation) chain(want ruleset, name string) error {
	i := slices.IndexFunc(want.chains, func(c chain) bool { return c.name == name })
	if i < 0 {
		return fmt.Errorf("chain %s is not wanted", name)
	}
	fmt.Fprintf(&d.text, "add chain inet %s %s", want.table, name)
	if c := want.chains[i]; c.hooked() {
		fmt.Fprintf(&d.text, " { %s }", c.declaration())
	}
	d.text.WriteString("\n")
	return nil
}

func (d *dictation) set(want ruleset, name, format string, words func(set) string) error {
	i := slices.IndexFunc(want.sets, func(s set) bool { return s.name == name })
	if i < 0 {
		return fmt.Errorf("set %s is not wanted", name)
	}
	fmt.Fprintf(&d.text, format+"\n", want.table, name, words(want.sets[i]))
	return nil
}

func (d *dictation) rule(want ruleset, chain, name string) error {
	for _, c := range want.chains {
		for _, r := range c.rules {
			if c.name == chain && r.name == name {
				fmt.Fprintf(&d.text, "add rule inet %s %s %s comment %q\n", want.table, chain, r.text(), name)
				return nil
			}
		}
	}
	return fmt.Errorf("rule %q of chain %s is not wanted", name, chain)
}

// declaration is what stands between a chain's braces.
func (c chain) declaration() string {
	return fmt.Sprintf("type %s hook %s priority %d; policy accept;", c.kind, c.hook.name, c.priority)
}

// declaration is what stands between a set's braces, without elements.
func (s set) declaration() string {
	text := "type " + s.kind.name + ";"
	if s.kind.interval {
		text += " flags interval;"
	}
	if s.kind.timed {
		text += " flags timeout;"
	}
	if s.kind.learns {
		text += fmt.Sprintf(" size %d; flags dynamic;", learnt)
	}
	return text
}

// keys are the elements without what else is known of them.
func (s set) keys() string {
	var out []string
	for _, text := range s.text {
		key, _, _ := strings.Cut(text, " timeout ")
		out = append(out, key)
	}
	return strings.Join(out, ", ")
}

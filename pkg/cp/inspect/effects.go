package inspect

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// effect notes what a policy, or the default, says of the call.
func (x *explainer) effect(where, what string, from proxy.Origin, values any) {
	x.doc.Effects = append(x.doc.Effects, api.Effect{Where: where, What: what, From: from.String(), Values: without(values, "from")})
}

// without prints a part of a plan without some of its fields.
func without(part any, fields ...string) json.RawMessage {
	var all map[string]json.RawMessage
	text := asJSON(part)
	if json.Unmarshal(text, &all) != nil {
		return text // it is no object
	}
	for _, f := range fields {
		delete(all, f)
	}
	return asJSON(all)
}

const callerSide = "caller"

func (x *explainer) callerEffects(out *proxy.Outbound) {
	x.effect(callerSide, "timeouts", out.Timeouts.From, out.Timeouts)
	if out.Retry != nil {
		x.effect(callerSide, "retry", out.Retry.From, out.Retry)
	}
	if out.RateLimit != nil {
		x.effect(callerSide, "rateLimit", out.RateLimit.From, out.RateLimit)
	}
	for _, l := range out.AccessLogs {
		x.effect(callerSide, "accessLog", l.From, l)
	}
	if t := x.caller.Tracing; t != nil {
		x.effect(callerSide, "tracing", t.From, t)
	}
	if t := x.caller.Template; t != nil {
		x.effect(callerSide, "template", t.From, t)
	}
}

func (x *explainer) clusterEffects(c *proxy.Cluster) {
	where := "cluster " + c.Name
	x.effect(where, "connectTimeout", c.TimeoutsFrom, c.ConnectTimeout)
	if c.LoadBalancer != nil {
		x.effect(where, "loadBalancer", c.LoadBalancer.From, c.LoadBalancer)
	}
	if c.HealthCheck != nil {
		x.effect(where, "healthCheck", c.HealthCheck.From, c.HealthCheck)
	}
	if c.Outlier != nil {
		x.effect(where, "outlier", c.Outlier.From, c.Outlier)
	}
	if c.Limits != nil {
		x.effect(where, "limits", c.Limits.From, c.Limits)
	}
}

// calleeEffects are those of the first endpoint of a dataplane that is looked
// at, and only of what is for this caller.
func (x *explainer) calleeEffects(dataplane string, in *proxy.Inbound) {
	where := "callee " + dataplane
	if slices.ContainsFunc(x.doc.Effects, func(e api.Effect) bool { return strings.HasPrefix(e.Where, "callee ") && e.Where != where }) {
		return
	}
	for _, f := range in.Faults {
		if x.meant(f.Callers) {
			x.effect(where, "fault", f.From, f)
		}
	}
	for _, l := range in.RateLimits {
		if x.meant(l.Callers) {
			x.effect(where, "rateLimit", l.From, l)
			break // the first that is for a caller counts
		}
	}
}

// meant tells whether the caller is one of callers; none are everybody.
func (x *explainer) meant(callers []proxy.Caller) bool {
	sets := x.from.dataplanes[0].Spec.(*mesh.Dataplane).TagSets()
	// Any of its parts may carry a tag: a certificate shows those of all.
	carries := func(tag mesh.Tags) bool { return slices.ContainsFunc(sets, mesh.Selector{Match: tag}.Matches) }
	return len(callers) == 0 || slices.ContainsFunc(callers, func(c proxy.Caller) bool {
		for k, v := range c {
			if !carries(mesh.Tags{k: v}) {
				return false
			}
		}
		return true
	})
}

// matches tells whether a call meets all of a match.
func matches(m *proxy.Match, c Call) bool {
	if m == nil {
		return true
	}
	path, _, _ := strings.Cut(c.Path, "?")
	if !is(m.Method, c.Method) || !is(m.Path, path) {
		return false
	}
	for _, h := range m.Headers {
		value, ok := c.Headers[strings.ToLower(h.Name)]
		if !ok || !is(&h.Text, value) {
			return false
		}
	}
	return true
}

func is(t *proxy.Text, s string) bool {
	switch {
	case t == nil:
		return true
	case t.Exact != "":
		return s == t.Exact
	case t.Prefix != "":
		return strings.HasPrefix(s, t.Prefix)
	default:
		re, err := regexp.Compile("^(?:" + t.Regex + ")$")
		return err == nil && re.MatchString(s)
	}
}

// inWords tells what a rule wants.
func inWords(m *proxy.Match) string {
	if m == nil {
		return "everything"
	}
	var parts []string
	add := func(what string, t *proxy.Text) {
		switch {
		case t == nil:
		case t.Exact != "":
			parts = append(parts, fmt.Sprintf("%s is %q", what, t.Exact))
		case t.Prefix != "":
			parts = append(parts, fmt.Sprintf("%s begins with %q", what, t.Prefix))
		default:
			parts = append(parts, fmt.Sprintf("%s matches %q", what, t.Regex))
		}
	}
	add("method", m.Method)
	add("path", m.Path)
	for _, h := range m.Headers {
		add("header "+h.Name, &h.Text)
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, ", ")
}

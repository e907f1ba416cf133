package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func inspectDataplanesCommand(g *global) *cobra.Command {
	var tags []string
	var gateways bool
	cmd := &cobra.Command{
		Use:     "dataplanes",
		Short:   "Show how the proxies of a mesh fare: streams, certificates, versions",
		Example: "  weftctl inspect dataplanes --tag kuma.io/service=web",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var asked []string
			for _, t := range tags {
				key, value, ok := strings.Cut(t, "=")
				if !ok {
					return fmt.Errorf("--tag: %q is not key=value", t)
				}
				asked = append(asked, key+":"+value)
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			all, err := c.Overviews(cmd.Context(), g.mesh, asked, gateways)
			if err != nil {
				return fault{inMesh(g.mesh, err)}
			}
			return faultOrNil(g.overviews(all))
		},
	}
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "key=value that a dataplane must have; may be given again")
	cmd.Flags().BoolVar(&gateways, "gateway", false, "gateways alone")
	return cmd
}

// overviewColumns are those of kumactl.
var overviewColumns = []struct {
	head string
	cell func(*global, api.Overview) string
}{
	{"MESH", func(_ *global, o api.Overview) string { return o.Dataplane.Meta.Mesh }},
	{"NAME", func(_ *global, o api.Overview) string { return o.Dataplane.Meta.Name }},
	{"TAGS", func(g *global, o api.Overview) string { return tags(g, o.Dataplane) }},
	{"STATUS", func(_ *global, o api.Overview) string {
		return map[string]string{mesh.Online: "Online", mesh.Offline: "Offline", mesh.PartiallyDegraded: "Partially degraded"}[o.Dataplane.Spec.(*mesh.Dataplane).Status(o.Insight.Connected())]
	}},
	{"LAST CONNECTED AGO", func(g *global, o api.Overview) string { return g.ago(newest(o).ConnectTime) }},
	{"LAST UPDATED AGO", func(g *global, o api.Overview) string { return g.ago(newest(o).Status.LastUpdateTime) }},
	{"TOTAL UPDATES", func(_ *global, o api.Overview) string { return strconv.FormatUint(total(o).Acknowledged, 10) }},
	{"TOTAL ERRORS", func(_ *global, o api.Overview) string { return strconv.FormatUint(total(o).Rejected, 10) }},
	{"CERT REGENERATED AGO", func(g *global, o api.Overview) string { return g.ago(certificate(o).Regenerated) }},
	{"CERT EXPIRATION", func(_ *global, o api.Overview) string {
		if at := certificate(o).Expires; !at.IsZero() {
			return at.UTC().Format("2006-01-02 15:04:05")
		}
		return "-"
	}},
	{"CERT REGENERATIONS", func(_ *global, o api.Overview) string {
		return strconv.FormatUint(uint64(certificate(o).Regenerations), 10)
	}},
	{"CERT BACKEND", func(_ *global, o api.Overview) string { return cmp.Or(certificate(o).IssuedBackend, "-") }},
	{"SUPPORTED CERT BACKENDS", func(_ *global, o api.Overview) string {
		return cmp.Or(strings.Join(certificate(o).SupportedBackends, ","), "-")
	}},
	{"KUMA-DP VERSION", func(_ *global, o api.Overview) string {
		return program(o, func(v *api.ProxyVersion) *api.Version { return v.KumaDP })
	}},
	{"ENVOY VERSION", func(_ *global, o api.Overview) string {
		return program(o, func(v *api.ProxyVersion) *api.Version { return v.Envoy })
	}},
	{"DEPENDENCIES VERSIONS", func(*global, api.Overview) string { return "-" }}, // the agent has none
	{"NOTES", notes},
}

func (g *global) overviews(all []api.Overview) error {
	w := tabwriter.NewWriter(g.out, 0, 0, 3, ' ', 0)
	var heads []string
	for _, c := range overviewColumns {
		heads = append(heads, c.head)
	}
	fmt.Fprintln(w, strings.Join(heads, "\t"))
	for _, o := range all {
		var cells []string
		for _, c := range overviewColumns {
			cells = append(cells, c.cell(g, o))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// newest is the newest stream, of no time where there is none.
func newest(o api.Overview) api.Subscription {
	return slices.MaxFunc(append([]api.Subscription{{}}, o.Insight.Subscriptions...), func(a, b api.Subscription) int {
		return a.ConnectTime.Compare(b.ConnectTime)
	})
}

func total(o api.Overview) (n api.Responses) {
	for _, s := range o.Insight.Subscriptions {
		n.Acknowledged += s.Status.Total.Acknowledged
		n.Rejected += s.Status.Total.Rejected
	}
	return n
}

func certificate(o api.Overview) mesh.DataplaneMTLS {
	if m := o.Insight.MTLS; m != nil {
		return *m
	}
	return mesh.DataplaneMTLS{}
}

func program(o api.Overview, of func(*api.ProxyVersion) *api.Version) string {
	if v := newest(o).Version; v != nil && of(v) != nil {
		return cmp.Or(of(v).Version, "unknown")
	}
	return "unknown"
}

// notes are the faults that are known without a look at each proxy.
func notes(_ *global, o api.Overview) string {
	f := o.Insight.Weft
	if f == nil {
		return "-"
	}
	var all []string
	for _, r := range f.Refused {
		all = append(all, "refuses "+r.Type)
	}
	if f.Problem != "" {
		all = append(all, f.Problem)
	}
	if n := len(f.Warnings); n > 0 {
		all = append(all, fmt.Sprintf("%d warnings", n))
	}
	return cmp.Or(strings.Join(all, "; "), "-")
}

func (g *global) ago(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return age(at, g.now())
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func inspectDataplanesCommand(g *global) *cobra.Command {
	var tags []string
	var gateways bool
	var output string
	cmd := &cobra.Command{
		Use:     "dataplanes",
		Short:   "Show how the proxies of a mesh fare: streams, certificates, versions",
		Example: "  weftctl inspect dataplanes --tag kuma.io/service=web",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			for _, t := range tags {
				key, value, ok := strings.Cut(t, "=")
				if !ok {
					return fmt.Errorf("--tag: %q is not key=value", t)
				}
				query.Add("tag", key+":"+value)
			}
			if gateways {
				query.Set("gateway", "true")
			}
			return g.overviews(cmd.Context(), mesh.DataplaneKind, query, output, dataplaneColumns)
		},
	}
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "key=value that a dataplane must have; may be given again")
	cmd.Flags().BoolVar(&gateways, "gateway", false, "gateways alone")
	tableFlag(cmd, &output)
	return cmd
}

// inspectZonesCommands show what belongs to zones. The columns of zones are made
// by one who knows which of them are connected.
func inspectZonesCommands(g *global) (cmds []*cobra.Command) {
	for _, of := range []struct {
		kind       *mesh.Kind
		use, short string
	}{
		{mesh.ZoneKind, "zones", "Show how the control planes of zones fare"},
		{mesh.ZoneIngressKind, "zoneingresses", "Show how the proxies that let calls into zones fare"},
		{mesh.ZoneEgressKind, "zoneegresses", "Show how the proxies that let calls out of zones fare"},
	} {
		var output string
		cmd := &cobra.Command{
			Use: of.use, Short: of.short, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				columns := zoneProxyColumns
				if of.kind == mesh.ZoneKind {
					c, err := g.client()
					if err != nil {
						return err
					}
					active, err := c.ActiveZones(cmd.Context())
					if err != nil {
						return fault{inMesh("", err)}
					}
					columns = zoneColumns(active)
				}
				err := g.overviews(cmd.Context(), of.kind, url.Values{}, output, columns)
				if note := of.kind.Note(); note != "" && err == nil {
					fmt.Fprintf(g.err, "note: %s\n", note)
				}
				return err
			},
		}
		tableFlag(cmd, &output)
		cmds = append(cmds, cmd)
	}
	return cmds
}

func (g *global) overviews(ctx context.Context, k *mesh.Kind, query url.Values, output string, columns []columnOf[api.Overview]) error {
	if err := knownOutput(output, tables); err != nil {
		return err
	}
	c, err := g.client()
	if err != nil {
		return err
	}
	all, err := c.Overviews(ctx, k, g.meshOf(k), query)
	if err != nil {
		return fault{inMesh(g.meshOf(k), err)}
	}
	return faultOrNil(printPage(g, output, columns, all, func(o api.Overview) ([]byte, error) { return o.Document, nil }))
}

// The columns are those of kumactl.
var (
	overviewName = columnOf[api.Overview]{"NAME", func(_ *global, o api.Overview) string { return o.Resource.Meta.Name }}
	streamStatus = columnOf[api.Overview]{"STATUS", func(_ *global, o api.Overview) string { return or(o.Insight.Connected(), "Online", "Offline") }}
	streams      = []columnOf[api.Overview]{
		{"LAST CONNECTED AGO", func(g *global, o api.Overview) string { return g.ago(newest(o).ConnectTime) }},
		{"LAST UPDATED AGO", func(g *global, o api.Overview) string { return g.ago(newest(o).Status.LastUpdateTime) }},
		{"TOTAL UPDATES", func(_ *global, o api.Overview) string { return strconv.FormatUint(total(o).Acknowledged, 10) }},
		{"TOTAL ERRORS", func(_ *global, o api.Overview) string { return strconv.FormatUint(total(o).Rejected, 10) }},
	}
	programs = []columnOf[api.Overview]{
		{"KUMA-DP VERSION", func(_ *global, o api.Overview) string {
			return program(o, func(v *api.ProxyVersion) *api.Version { return v.KumaDP })
		}},
		{"ENVOY VERSION", func(_ *global, o api.Overview) string {
			return program(o, func(v *api.ProxyVersion) *api.Version { return v.Envoy })
		}},
	}
	dataplaneColumns = slices.Concat(
		[]columnOf[api.Overview]{
			{"MESH", func(_ *global, o api.Overview) string { return o.Resource.Meta.Mesh }},
			overviewName,
			{"TAGS", func(g *global, o api.Overview) string { return tags(g, o.Resource) }},
			{"STATUS", func(_ *global, o api.Overview) string {
				return inWords(o.Resource.Spec.(*mesh.Dataplane).Status(o.Insight.Connected()))
			}},
		},
		streams,
		[]columnOf[api.Overview]{
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
		},
		programs,
		[]columnOf[api.Overview]{
			{"DEPENDENCIES VERSIONS", func(*global, api.Overview) string { return "-" }}, // the agent has none
			{"NOTES", notes},
		},
	)
	zoneProxyColumns = slices.Concat([]columnOf[api.Overview]{overviewName, streamStatus}, streams, programs)
)

// zoneColumns are those of zones. A control plane has no stream to itself.
func zoneColumns(active map[string]bool) []columnOf[api.Overview] {
	unknown := func(*global, api.Overview) string { return "unknown" }
	return slices.Concat(
		[]columnOf[api.Overview]{overviewName, {"STATUS", func(_ *global, o api.Overview) string {
			return or(o.Insight.Connected() || active[o.Resource.Meta.Name], "Online", "Offline")
		}}},
		streams,
		[]columnOf[api.Overview]{{"ZONE-CP VERSION", unknown}, {"BACKEND", unknown}},
	)
}

// inWords is a status as people read it.
func inWords(status string) string {
	text := strings.ReplaceAll(status, "_", " ")
	return strings.ToUpper(text[:min(1, len(text))]) + text[min(1, len(text)):]
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

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func inspectMeshesCommand(g *global) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "meshes",
		Short: "Show how many proxies meshes have and how many of those are well, and how many policies",
		Long: `Shows of each mesh how many of its proxies are online, of how many, and how many
policies it has, in the columns of kumactl. -o yaml has every kind, the versions
of agents and Envoys, and whose certificates proxies have.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.insights(cmd.Context(), mesh.MeshInsightKind, output, meshInsightColumns)
		},
	}
	tableFlag(cmd, &output)
	return cmd
}

func inspectServicesCommand(g *global) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "services",
		Short: "Show how the services of a mesh fare: how many of their proxies are online",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.insights(cmd.Context(), mesh.ServiceInsightKind, output, serviceInsightColumns)
		},
	}
	tableFlag(cmd, &output)
	return cmd
}

// insights shows what is told of how things fare.
func (g *global) insights(ctx context.Context, k *mesh.Kind, output string, columns []column) error {
	if err := knownOutput(output, tables); err != nil {
		return err
	}
	c, err := g.client()
	if err != nil {
		return err
	}
	all, err := c.List(ctx, k, g.meshOf(k))
	if err != nil {
		return fault{inMesh(g.meshOf(k), err)}
	}
	return faultOrNil(printPage(g, output, columns, all, api.Encode))
}

// The columns are those of kumactl.
var (
	meshInsightColumns = []column{
		{"MESH", func(_ *global, r mesh.Resource) string { return r.Meta.Name }},
		{"DATAPLANES", func(_ *global, r mesh.Resource) string {
			n := r.Spec.(*mesh.MeshInsight).Dataplanes
			return outOf(n.Online, n.Total)
		}},
		countOf("TRAFFIC PERMISSIONS", mesh.TrafficPermissionKind),
		countOf("TRAFFIC ROUTES", mesh.TrafficRouteKind),
		countOf("CIRCUIT BREAKERS", mesh.CircuitBreakerKind),
		countOf("HEALTH CHECKS", mesh.HealthCheckKind),
		countOf("FAULT INJECTIONS", mesh.FaultInjectionKind),
		countOf("EXTERNAL SERVICES", mesh.ExternalServiceKind),
		countOf("TRAFFIC TRACES", mesh.TrafficTraceKind),
		countOf("TRAFFIC LOGS", mesh.TrafficLogKind),
		countOf("PROXY TEMPLATES", mesh.ProxyTemplateKind),
		countOf("RATE LIMITS", mesh.RateLimitKind),
	}
	serviceInsightColumns = []column{
		{"SERVICE", func(_ *global, r mesh.Resource) string { return r.Meta.Name }},
		{"STATUS", func(_ *global, r mesh.Resource) string { return inWords(r.Spec.(*mesh.ServiceInsight).Status) }},
		{"DATAPLANES", func(_ *global, r mesh.Resource) string {
			n := r.Spec.(*mesh.ServiceInsight).Dataplanes
			return outOf(n.Online, n.Total)
		}},
	}
)

func countOf(head string, k *mesh.Kind) column {
	return column{head, func(_ *global, r mesh.Resource) string {
		return fmt.Sprint(r.Spec.(*mesh.MeshInsight).Resources[k.Name].Total)
	}}
}

func outOf(n, all uint32) string { return fmt.Sprintf("%d/%d", n, all) }

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/api"
)

func caCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "See and exchange the authority of a mesh, or the control plane's",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(caStatusCommand(g), caRotateCommand(g), caAbortCommand(g))
	return cmd
}

func caStatusCommand(g *global) *cobra.Command {
	var output string
	var own bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the authorities of --mesh, or the control plane's, and how far a rotation is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			if own {
				a, err := c.OwnAuthority(cmd.Context())
				if err != nil {
					return fault{err}
				}
				return g.printOwn(a, output)
			}
			a, err := c.Authorities(cmd.Context(), g.mesh)
			if err != nil {
				return fault{inMesh(g.mesh, err)}
			}
			return g.printAuthorities(a, output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", `"json" for programs`)
	ownFlag(cmd, &own)
	return cmd
}

func ownFlag(cmd *cobra.Command, own *bool) {
	cmd.Flags().BoolVar(own, "control-plane", false, "the control plane's own authority, by which hosts know it, and not that of a mesh")
}

func caRotateCommand(g *global) *cobra.Command {
	var req api.RotateRequest
	var output string
	var own bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Exchange the builtin authority of --mesh, without losing a request",
		Long: `Exchanges the builtin authority of --mesh in three stages, of which no request
notices anything:

  spread   the new root goes to all hosts; the old authority signs
  renew    both roots are believed; hosts get certificates of the new one
  retire   the old root goes

A stage ends when all dataplanes have answered, or after --patience. It goes on
by itself, whichever control planes run; weftctl ca status shows how far it is.

With --control-plane it is the authority by which hosts and control planes know
each other, in all meshes. Hosts ask for a new certificate in the second stage,
at the end of which the old authority goes. Join tokens of before go on to work.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for flag, text := range map[string]string{"wait": req.Wait, "patience": req.Patience} {
				if d, err := time.ParseDuration(text); text != "" && (err != nil || d <= 0) {
					return fmt.Errorf("--%s: %q is not a duration of more than 0, such as 10m", flag, text)
				}
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			if own {
				a, err := c.RotateOwn(cmd.Context(), req)
				if err != nil {
					return fault{err}
				}
				return g.printOwn(a, output)
			}
			a, err := c.Rotate(cmd.Context(), g.mesh, req)
			if err != nil {
				return fault{inMesh(g.mesh, err)}
			}
			return g.printAuthorities(a, output)
		},
	}
	cmd.Flags().StringVar(&req.Wait, "wait", "", "how long each stage takes at least (default 1m)")
	cmd.Flags().StringVar(&req.Patience, "patience", "", "after how long a stage ends without the dataplanes that do not answer (default: the life of their certificates, after which none of them is cut off)")
	cmd.Flags().StringVarP(&output, "output", "o", "", `"json" for programs`)
	ownFlag(cmd, &own)
	return cmd
}

func caAbortCommand(g *global) *cobra.Command {
	var own bool
	cmd := &cobra.Command{
		Use:   "abort",
		Short: "Give up a rotation that has only spread its root so far",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			if own {
				if err := c.EndOwnRotation(cmd.Context()); err != nil {
					return fault{err}
				}
				_, err = fmt.Fprintln(g.out, "the rotation of the control plane's authority was given up")
				return faultOrNil(err)
			}
			if err := c.EndRotation(cmd.Context(), g.mesh); err != nil {
				return fault{inMesh(g.mesh, err)}
			}
			_, err = fmt.Fprintf(g.out, "the rotation in mesh %q was given up\n", g.mesh)
			return faultOrNil(err)
		},
	}
	ownFlag(cmd, &own)
	return cmd
}

// asJSON prints v where that is the output asked for.
func (g *global) asJSON(v any, output string) (done bool, err error) {
	switch output {
	case "":
		return false, nil
	case "json":
		e := json.NewEncoder(g.out)
		e.SetIndent("", " ")
		return true, faultOrNil(e.Encode(v))
	default:
		return true, fmt.Errorf(`--output: %q is not "json"`, output)
	}
}

func (g *global) printOwn(a api.OwnAuthority, output string) error {
	if done, err := g.asJSON(a, output); done {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the control plane's authority\n  key          %s\n  fingerprint  %s\n  valid until  %s\n", a.Algorithm, a.Fingerprint, a.NotAfter.Format(time.DateTime))
	if a.Former != "" {
		fmt.Fprintf(&b, "  before it    %s\n", a.Former)
	}
	if r := a.Rotation; r != nil {
		fmt.Fprintf(&b, "rotation, %s\n  stage        %s since %s\n  from, to     %s\n               %s\n  ready        %d of %d hosts, %d connected to %d control planes\n  waits for    %s\n",
			r.Reason, r.Stage, r.Since.Format(time.DateTime), r.Old, r.New, r.Ready, r.Dataplanes, r.Connected, r.Replicas, r.WaitsFor)
	}
	fmt.Fprintf(&b, "hosts connected here: %d, of which %d know all that and have a certificate of the one that signs\n", a.Hosts.Connected, a.Hosts.Ready)
	if len(a.Hosts.Lacking) > 0 {
		fmt.Fprintf(&b, "  still to come: %s\n", strings.Join(a.Hosts.Lacking, ", "))
	}
	_, err := fmt.Fprint(g.out, b.String())
	return faultOrNil(err)
}

func (g *global) printAuthorities(a api.MeshAuthorities, output string) error {
	if done, err := g.asJSON(a, output); done {
		return err
	}
	var b strings.Builder
	if len(a.Backends) == 0 {
		fmt.Fprintf(&b, "mesh %q has no mTLS, and so no authority\n", a.Mesh)
	}
	for _, be := range a.Backends {
		fmt.Fprintf(&b, "%s (%s)", be.Name, be.Type)
		if be.Signs {
			b.WriteString(", signs")
		}
		b.WriteByte('\n')
		if be.Fault != "" {
			fmt.Fprintf(&b, "  fault        %s\n", be.Fault)
			continue
		}
		fmt.Fprintf(&b, "  key          %s\n  fingerprint  %s\n  valid until  %s\n", be.Algorithm, be.Fingerprint, be.NotAfter.Format(time.DateTime))
	}
	if r := a.Rotation; r != nil {
		fmt.Fprintf(&b, "rotation of %s, %s\n  stage        %s since %s\n  from, to     %s\n               %s\n  ready        %d of %d dataplanes, %d connected to %d control planes\n  waits for    %s\n",
			r.Backend, r.Reason, r.Stage, r.Since.Format(time.DateTime), r.Old, r.New, r.Ready, r.Dataplanes, r.Connected, r.Replicas, r.WaitsFor)
	}
	if len(a.Backends) > 0 {
		fmt.Fprintf(&b, "hosts connected here: %d, of which %d know all authorities and %d have a certificate of the one that signs\n", a.Hosts.Connected, a.Hosts.Trusting, a.Hosts.Certified)
	}
	if len(a.Hosts.Lacking) > 0 {
		fmt.Fprintf(&b, "  still to come: %s\n", strings.Join(a.Hosts.Lacking, ", "))
	}
	_, err := fmt.Fprint(g.out, b.String())
	return faultOrNil(err)
}

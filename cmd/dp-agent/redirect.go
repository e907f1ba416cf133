package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/agent"
)

func redirectCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "redirect",
		Short: "Point this host's traffic at Envoy, look whether it is, or take it back",
	}
	cmd.AddCommand(redirectApply(getenv), redirectConfirm(getenv), redirectCheck(getenv), redirectExplain(getenv), redirectRemove(getenv))
	return cmd
}

func redirectApply(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Put the redirection in force, all of it or nothing",
		Long: `Put the redirection in force, all of it or nothing.

"weft-agent run" does so by itself. Where no agent runs, this closes the host:
its DNS queries and calls over TCP find nobody until the agent is there.

With --confirm-within it is on trial: unless "weft-agent redirect confirm"
follows in that time, traffic goes as if there were no redirection, whatever
became of this command, the agent and your session. The kernel sees to that.

With --last it is what was last in force, of every workload, whatever the
configuration says now; what was taken off stays off. So it is at the start of
the host, before anything that could call or be called, by weft-redirect.service.`,
		Args: cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	b.ofWorkload(cmd)
	within := cmd.Flags().Duration("confirm-within", 0, "take it off again after this time, from 1s to 1h, unless it is confirmed; 0s: it stays")
	last := cmd.Flags().Bool("last", false, "put in force what was last, of every workload")
	dry := cmd.Flags().Bool("dry-run", false, "print what would be sent to this host as it is, and change nothing")
	output := cmd.Flags().StringP("output", "o", "text", "of --dry-run: text or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *last {
			if err := alone(cmd, "last", "confirm-within", "dry-run", "workload"); err != nil {
				return err
			}
			return applyLast(cmd, b)
		}
		if err := b.redirectable(); err != nil {
			return err
		}
		if err := knownOutput(*output); err != nil {
			return err
		}
		if *dry {
			return b.each(cmd, func(cfg agent.Config) error {
				plan, err := agent.PlanRedirection(cmd.Context(), cfg, *within)
				if errors.Is(err, agent.ErrInvalid) {
					return usageError{err}
				}
				if err != nil {
					return err
				}
				return printAs(cmd.OutOrStdout(), *output, plan)
			})
		}
		return b.each(cmd, func(cfg agent.Config) error { return apply(cmd, getenv, cfg, *within) })
	}
	return cmd
}

func apply(cmd *cobra.Command, getenv func(string) string, cfg agent.Config, within time.Duration) error {
	rules, doors, err := cfg.RulesAndDoors()
	if err != nil {
		return usageError{err}
	}
	rules.ConfirmWithin = within
	if err := rules.Validate(); err != nil {
		return usageError{err}
	}
	session, bySSH := agent.FindSSHSession(getenv)
	if bySSH {
		err = cfg.Guard(rules, &session)
	} else {
		err = cfg.Guard(rules, nil)
	}
	if err != nil {
		return err
	}
	for _, d := range doors {
		fmt.Fprintf(cmd.ErrOrStderr(), "left open: %s\n", d)
	}
	if advice := session.Advice(rules); bySSH && within == 0 && advice != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), advice)
	}
	choice, err := agent.ApplyRedirection(cmd.Context(), cfg, within)
	if err != nil {
		return err
	}
	if within != 0 {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "the redirection is in force for %s; look whether all works, then: weft-agent redirect confirm\n", within)
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "the redirection is in force, by %s, table %s\n", choice, cfg.RedirectTable)
	return err
}

func redirectConfirm(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "confirm",
		Short: "Make a redirection on trial stay",
		Args:  cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	b.ofWorkload(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := b.redirectable(); err != nil {
			return err
		}
		return b.each(cmd, func(cfg agent.Config) error {
			choice, err := agent.ConfirmRedirection(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "the redirection stays in force, by %s, table %s\n", choice, cfg.RedirectTable)
			return err
		})
	}
	return cmd
}

func redirectCheck(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Tell how the host differs from the redirection that it should have",
		Long: `Tell how the host differs from the redirection that it should have.

With --probe, look whether it works: connections and DNS queries are sent through
every family, direction, flow and exclusion, and what keeps one from where it
should come is named. Nothing leaves the host, and nothing is left of it. For calls
from outside the host has an interface weft-probe for a moment; --inside leaves
those out. The service's port is called once in each family, and hung up.

Exit code 0 when all is as it should be, 1 when something is not.`,
		Args: cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	b.ofWorkload(cmd)
	probe := cmd.Flags().Bool("probe", false, "send probes, and name what keeps them from where they should come")
	inside := cmd.Flags().Bool("inside", false, "of --probe: no calls from outside")
	output := cmd.Flags().StringP("output", "o", "text", "text or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := b.redirectable(); err != nil {
			return err
		}
		if err := knownOutput(*output); err != nil {
			return err
		}
		if *output == "json" {
			if _, err := b.one(cmd); err != nil {
				return err
			}
		}
		return b.each(cmd, func(cfg agent.Config) error {
			if *probe {
				return probeNow(cmd, cfg, *inside, *output)
			}
			return check(cmd, cfg, *output)
		})
	}
	return cmd
}

func probeNow(cmd *cobra.Command, cfg agent.Config, inside bool, output string) error {
	report, err := agent.ProbeRedirection(cmd.Context(), cfg, inside)
	if err != nil {
		return err
	}
	if err := printAs(cmd.OutOrStdout(), output, report); err != nil {
		return err
	}
	if !report.Well {
		return errSaid
	}
	return nil
}

func check(cmd *cobra.Command, cfg agent.Config, output string) error {
	state, differences, err := agent.CheckRedirection(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	now := time.Now()
	if output == "json" {
		on := state.On(now)
		if err := printJSON(cmd.OutOrStdout(), checked{on && len(differences) == 0, state.Text(now), differences}); err != nil {
			return err
		}
		if !on || len(differences) > 0 {
			return errSaid
		}
		return nil
	}
	if !state.On(now) {
		fmt.Fprintf(cmd.OutOrStdout(), "the redirection is %s; %s\n", state.Text(now), state.Remedy())
		return errSaid
	}
	for _, d := range differences {
		fmt.Fprintln(cmd.OutOrStdout(), d)
	}
	if !state.Trial.IsZero() {
		fmt.Fprintf(cmd.OutOrStdout(), "the redirection is %s; weft-agent redirect confirm makes it stay\n", state.Text(now))
	}
	if len(differences) > 0 {
		return errSaid
	}
	fmt.Fprintln(cmd.OutOrStdout(), "the redirection is as it should be")
	return nil
}

// checked is what check says as JSON.
type checked struct {
	Well        bool   `json:"well"`
	Redirection string `json:"redirection"` // on, off since when, or on trial
	Differences any    `json:"differences"`
}

func redirectExplain(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain (tcp|udp) [FROM] TO | PID | UNIT",
		Short: "Say which rule decides about a connection, a process or a unit",
		Long: `Say which rule decides about a connection, a process or a unit.

The answer is from the rules that are configured and from this host as it is:
whose a socket or process is, its addresses and its routes. Where this host has
a connection from FROM, that one's owner and mark count.`,
		Example: `  weft-agent redirect explain tcp 10.0.0.7:443
  weft-agent redirect explain tcp 10.0.0.5:40000 10.0.0.7:443 --as user:postgres
  weft-agent redirect explain 4711
  weft-agent redirect explain api.service`,
		Args: cobra.MinimumNArgs(1),
	}
	b := bind(cmd, getenv)
	b.ofWorkload(cmd)
	var q agent.Question
	cmd.Flags().StringSliceVar(&q.As, "as", nil, "who makes the connection: user:NAME, group:NAME, unit:NAME or cgroup:PATH")
	cmd.Flags().Uint32Var(&q.Mark, "mark", 0, "mark of its socket")
	cmd.Flags().StringVar(&q.In, "in", "", "interface by which it comes in; default: where answers go")
	output := cmd.Flags().StringP("output", "o", "text", "text or json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := b.redirectable(); err != nil {
			return err
		}
		if err := knownOutput(*output); err != nil {
			return err
		}
		cfg, err := b.one(cmd)
		if err != nil {
			return err
		}
		q.About = args
		answer, err := agent.ExplainRedirection(cmd.Context(), cfg, q)
		if errors.Is(err, agent.ErrQuestion) {
			return usageError{err}
		}
		if err != nil {
			return err
		}
		return printAs(cmd.OutOrStdout(), *output, answer)
	}
	return cmd
}

func redirectRemove(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove",
		Short: "Take the redirection off; works on a host that has none or never joined",
		Long: `Take the redirection off; works on a host that has none or never joined.

The host is open then: calls come in and go out around Envoy, and names in .mesh
are not answered. It stays so: an agent that runs does not mend it, and one that
starts later leaves it off. "weft-agent redirect apply" turns it on again.

With --for-now it is off only until the agent starts, or the host. That is for
when the agent has been stopped: one that runs puts it back at once.`,
		Args: cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	b.ofWorkload(cmd)
	forNow := cmd.Flags().Bool("for-now", false, "until the agent starts, or the host")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *forNow {
			if err := alone(cmd, "for-now", "workload"); err != nil {
				return err
			}
			return removeForNow(cmd, b)
		}
		if err := b.load(true); err != nil {
			return err
		}
		var errs []error
		for _, cfg := range b.Workloads() {
			if !cmd.Flags().Changed("workload") || cfg.Workload == *b.workload {
				errs = append(errs, agent.RemoveRedirection(cmd.Context(), cfg))
			}
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "the redirection is off and stays off; weft-agent redirect apply turns it on again")
		return err
	}
	return cmd
}

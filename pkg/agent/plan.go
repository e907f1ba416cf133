package agent

import (
	"context"
	"time"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// PlanRedirection tells what ApplyRedirection would send to this host now.
func PlanRedirection(ctx context.Context, cfg Config, confirmWithin time.Duration) (redirect.Plan, error) {
	rules, err := cfg.Rules()
	if err != nil {
		return redirect.Plan{}, err
	}
	rules.ConfirmWithin = confirmWithin
	if err := rules.Validate(); err != nil {
		return redirect.Plan{}, err
	}
	choice, err := cfg.Choose(ctx, rules)
	if err != nil {
		return redirect.Plan{}, err
	}
	engine := choice.redirector
	if planner, ok := engine.(redirect.Planner); ok {
		return planner.Plan(ctx, rules)
	}
	differences, err := engine.Check(ctx, rules)
	if err != nil || len(differences) == 0 {
		return redirect.Plan{}, err
	}
	text, err := engine.Describe(rules)
	return redirect.Plan{Differences: differences, Steps: []redirect.Step{{By: choice.Engine, Text: text}}}, err
}

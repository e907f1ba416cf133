package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/api"
)

// How documents that are no resources are shown.
const (
	outputText  = "text"
	outputTable = "table"
	outputYAML  = "yaml"
	outputJSON  = "json"
)

var (
	outputs = []string{outputText, outputYAML, outputJSON}
	tables  = []string{outputTable, outputYAML, outputJSON} // of lists
)

func outputFlag(cmd *cobra.Command, output *string) { oneOf(cmd, output, outputs) }

func tableFlag(cmd *cobra.Command, output *string) { oneOf(cmd, output, tables) }

// oneOf lets people choose how something is shown; the first is what they get
// who do not.
func oneOf(cmd *cobra.Command, output *string, all []string) {
	cmd.Flags().StringVarP(output, "output", "o", all[0], strings.Join(all, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp))
}

func knownOutput(output string, all []string) error {
	if !slices.Contains(all, output) {
		return fmt.Errorf("--output: %q is not one of %s", output, strings.Join(all, ", "))
	}
	return nil
}

// document prints doc as YAML or JSON.
func (g *global) document(output string, doc any) error {
	text, err := json.MarshalIndent(doc, "", "  ")
	if err == nil && output == outputYAML {
		text, err = api.ToYAML(text)
	} else {
		text = append(text, '\n')
	}
	if err != nil {
		return err
	}
	_, err = g.out.Write(text)
	return err
}

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
	outputText = "text"
	outputYAML = "yaml"
	outputJSON = "json"
)

var outputs = []string{outputText, outputYAML, outputJSON}

func outputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", outputText, strings.Join(outputs, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputs, cobra.ShellCompDirectiveNoFileComp))
}

func knownOutput(output string) error {
	if !slices.Contains(outputs, output) {
		return fmt.Errorf("--output: %q is not one of %s", output, strings.Join(outputs, ", "))
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

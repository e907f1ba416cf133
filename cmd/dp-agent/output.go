package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// printAs writes v as JSON, or as its own text.
func printAs(w io.Writer, output string, v fmt.Stringer) error {
	if output == "json" {
		return printJSON(w, v)
	}
	_, err := io.WriteString(w, v.String())
	return err
}

func printJSON(w io.Writer, v any) error {
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, string(out))
	return err
}

// knownOutput refuses what printAs does not know.
func knownOutput(output string) error {
	if output == "text" || output == "json" {
		return nil
	}
	return usageError{fmt.Errorf("output %q is neither text nor json", output)}
}

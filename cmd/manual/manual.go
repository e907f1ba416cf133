// Package manual gives a program a hidden command that writes its man pages, so
// that packages carry what the program itself says.
package manual

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Command is for a program whose pages are in that section of the manual: "1"
// for what people use, "8" for what administrators run. The date of the pages is
// SOURCE_DATE_EPOCH, where that is set.
func Command(section string) *cobra.Command {
	return &cobra.Command{
		Use:    "manual DIR",
		Short:  "Write the man pages into a folder",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true
			for _, c := range root.Commands() {
				if c.Name() == "completion" {
					c.Hidden = true // packages bring what it makes
				}
			}
			err := doc.GenManTree(root, &doc.GenManHeader{Section: section, Source: root.Name(), Manual: "Weft"}, args[0])
			if err != nil {
				return fmt.Errorf("write the man pages: %w", err)
			}
			return nil
		},
	}
}

package main

import (
	"fmt"
	"io"
	"os"

	"buildsmith/store"

	"github.com/spf13/cobra"
)

func restoreCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Unpack a backup into a new data directory",
		Long: `Unpack a backup into a data directory, which must be empty or missing, and look whether it can
be opened. A server that is started with it goes on where the backup was made; builds that ran
then end in a fault and are repeated once.

FILE - is standard input. Exit status: 0, or 3 if it could not be done.`,
		Example: `  buildsmith restore --data /var/lib/buildsmith buildsmith-2026-05-01.backup`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var in io.Reader = cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return fault(err)
				}
				defer f.Close()
				in = f
			}
			if err := store.Restore(data, in); err != nil {
				return fault(err)
			}
			s, err := store.Open(data, store.Options{})
			if err != nil {
				return fault(fmt.Errorf("the backup was unpacked, but cannot be opened: %w", err))
			}
			var builds int
			err = s.View(func(tx *store.Tx) error { ids, _ := tx.IDsSince(0); builds = len(ids); return nil })
			if err := s.Close(); err != nil {
				return fault(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s has %d builds\n", data, builds)
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", defaultData(), "data directory to make")
	return cmd
}

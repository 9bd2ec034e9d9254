// The parts of Argo CD that a test runs as processes: the name of the executable chooses one. "redis" stands in for the
// cache that Argo CD keeps in Redis.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alicebob/miniredis/v2"
	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	askpass "github.com/argoproj/argo-cd/v3/cmd/argocd-git-ask-pass/commands"
	repository "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	cli "github.com/argoproj/argo-cd/v3/cmd/argocd/commands"
	"github.com/spf13/cobra"
)

func main() {
	commands := map[string]func() *cobra.Command{
		"argocd":                        cli.NewCommand,
		"argocd-application-controller": controller.NewCommand,
		"argocd-git-ask-pass":           askpass.NewCommand,
		"argocd-repo-server":            repository.NewCommand,
		"argocd-redis":                  redis,
	}
	name := filepath.Base(os.Args[0])
	if asked := os.Getenv("ARGOCD_BINARY_NAME"); asked != "" {
		name = asked
	}
	command, known := commands[name]
	if !known {
		fmt.Fprintln(os.Stderr, "error: unknown program", name)
		os.Exit(1)
	}
	if err := command().Execute(); err != nil {
		os.Exit(1)
	}
}

func redis() *cobra.Command {
	return &cobra.Command{
		Use:  "argocd-redis ADDRESS",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, arguments []string) error {
			server := miniredis.NewMiniRedis()
			if err := server.StartAddr(arguments[0]); err != nil {
				return err
			}
			defer server.Close()
			ended := make(chan os.Signal, 1)
			signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
			<-ended
			return nil
		},
	}
}

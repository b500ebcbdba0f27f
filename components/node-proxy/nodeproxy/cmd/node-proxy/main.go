// Command node-proxy is the L4 proxy of a node in Istio's ambient mode, in the place of ztunnel: the same DaemonSet, the same
// environment, the same protocols.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func main() {
	if err := start(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "node-proxy:", err)
		os.Exit(1)
	}
}

func start(arguments []string) error {
	// What the chart gives to ztunnel, or nothing.
	if len(arguments) > 0 && !slices.Equal(arguments, []string{"proxy", "ztunnel"}) {
		return fmt.Errorf("arguments %q: write \"proxy ztunnel\" or none; everything else comes from the environment", arguments)
	}
	c, err := environment(os.Getenv)
	if err != nil {
		return err
	}
	level := &slog.LevelVar{}
	level.Set(c.level)
	var handler slog.Handler = slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: level})
	if c.json {
		handler = slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: level})
	}
	log := slog.New(handler)
	if c.fileDescriptors, err = limits(log); err != nil {
		return err
	}
	p, err := controlPlane(c, log)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return run(ctx, c, p, log, level)
}

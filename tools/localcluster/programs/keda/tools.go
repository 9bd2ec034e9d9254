//go:build tools

// Package tools names the commands of KEDA that are built from this module: its operator, and the adapter that serves
// external.metrics.k8s.io. KEDA's own go.mod replaces a module whose version is gone, and a replacement counts in the
// main module only.
package tools

import (
	_ "github.com/kedacore/keda/v2/cmd/adapter"
	_ "github.com/kedacore/keda/v2/cmd/operator"
)

//go:build tools

// Package tools names the commands of prometheus-operator that are built from this module, so that go.mod and go.sum
// pin all that they need.
package tools

import (
	_ "github.com/prometheus-operator/prometheus-operator/cmd/admission-webhook"
	_ "github.com/prometheus-operator/prometheus-operator/cmd/operator"
	_ "github.com/prometheus-operator/prometheus-operator/cmd/prometheus-config-reloader"
)

//go:build tools

// Package tools names the command of Alertmanager that is built from this module, so that go.mod and go.sum pin all
// that it needs.
package tools

import _ "github.com/prometheus/alertmanager/cmd/alertmanager"

//go:build tools

// Package tools names the command of kube-state-metrics that is built from this module, so that go.mod and go.sum pin all that it
// needs.
package tools

import _ "k8s.io/kube-state-metrics/v2"

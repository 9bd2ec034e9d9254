//go:build tools

// Package tools names the helm controller of Flux, whose replacements are repeated here: they count in the main module
// only.
package tools

import _ "github.com/fluxcd/helm-controller"

//go:build tools

// Package tools names the kustomize controller of Flux, whose replacements are repeated here: they count in the main
// module only.
package tools

import _ "github.com/fluxcd/kustomize-controller"

//go:build tools

// Package tools names the source controller of Flux. Its own go.mod asks for a version of a module that is gone, and a
// replacement counts in the main module only.
package tools

import _ "github.com/fluxcd/source-controller"

// Stand-ins of vLLM and a load for `make bench-gateway`, on loopback only: programs that cost less than what they measure.
//
//	gateway-load mock -ports 9101,9102 -control 9100
//	gateway-load load -url http://127.0.0.1:9101 -rate 200 -seconds 5
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: gateway-load mock|load ...")
		os.Exit(2)
	}
	switch os.Args[1] {
	case "mock":
		mock(os.Args[2:])
	case "load":
		load(os.Args[2:])
	default:
		fmt.Fprintln(os.Stderr, "unknown command", os.Args[1])
		os.Exit(2)
	}
}

//go:build profile

package main

import (
	"os"
	"runtime/pprof"
)

// Never called with this argument; that it could be keeps the sampler in the program.
func init() {
	if len(os.Args) > 3 {
		pprof.Lookup("heap").WriteTo(os.Stdout, 0)
	}
}

//go:build !noprofile

package main

import _ "net/http/pprof" // keeps the runtime's sampler

//go:build go1.22

package main

// The tracer of 1.22 needs no stop to end.
const reasons = "goroutine profile;goroutine profile cleanup;all goroutines stack trace;AllThreadsSyscall;start trace"

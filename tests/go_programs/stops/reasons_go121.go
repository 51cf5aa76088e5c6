//go:build go1.21 && !go1.22

package main

const reasons = "goroutine profile;goroutine profile cleanup;all goroutines stack trace;AllThreadsSyscall;start trace;stop trace"

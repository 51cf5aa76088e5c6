//go:build !go1.21

package main

const reasons = "profile;profile cleanup;stack trace;doAllThreadsSyscall;start tracing;stop tracing"

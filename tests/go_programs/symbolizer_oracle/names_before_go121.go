//go:build !go1.21

package main

import "runtime"

// Before Go 1.21 names had no second form and functions no start line.
func symbolOf(frame *runtime.Frame) (string, int) { return frame.Function, 0 }

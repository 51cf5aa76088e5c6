//go:build noprofile

package main

import "errors"

// A program that links no memory profile: the linker then switches the runtime's sampler off for good.
func writeProfile(path string) error { return errors.New("built without profiles") }

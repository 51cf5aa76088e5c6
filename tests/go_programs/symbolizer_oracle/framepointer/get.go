// Package framepointer reads the frame pointer register. It is a package of its own because one that uses cgo cannot
// have assembly.
package framepointer

// Get returns the frame pointer of its caller.
func Get() uintptr

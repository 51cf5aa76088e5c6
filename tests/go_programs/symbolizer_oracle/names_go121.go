//go:build go1.21

package main

import (
	"runtime"
	_ "unsafe"
)

//go:linkname frameSymbolName runtime/pprof.runtime_FrameSymbolName
func frameSymbolName(f *runtime.Frame) string

//go:linkname frameStartLine runtime/pprof.runtime_FrameStartLine
func frameStartLine(f *runtime.Frame) int

func symbolOf(frame *runtime.Frame) (string, int) {
	return frameSymbolName(frame), frameStartLine(frame)
}

//go:build cgo

package main

// void call_back(int n);
import "C"

// Go called from C called from Go: the runtime joins both parts of the stack in its profile. Frame pointers lead
// nowhere below C, so nothing is observed here.

//export calledBack
func calledBack(n C.int) { allocate(int(n)) }

func workInC() {
	for n := 0; n < 3; n++ {
		C.call_back(C.int(n))
	}
}

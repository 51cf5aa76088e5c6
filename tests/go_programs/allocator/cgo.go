//go:build cgo

package main

/*
extern void goCallback(int);
// Compiled without frame pointers, as C code usually is: the walk has to get past it or stop.
static __attribute__((noinline)) int c_work(int n) {
	int i;
	for (i = 0; i < n; i++) goCallback(i);
	return i;
}
*/
import "C"

//export goCallback
func goCallback(i C.int) {
	sinkPlain = new(plain)
	sinkPairs = make([]*pair, 1+int(i)%50)
}

func init() {
	workloads["cgo"] = func(n int) { C.c_work(C.int(n)) }
}

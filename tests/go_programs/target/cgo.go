//go:build cgo

package main

/*
#include <stdlib.h>

extern int goAllocates(int n);

// Go calls C, and C calls Go back.
static int through_c(int n) { return goAllocates(n); }
static int in_c(int n) {
	int sum = 0;
	for (int i = 0; i < n; i++) {
		char* p = malloc(100);
		p[0] = (char)i;
		sum += p[0];
		free(p);
	}
	return sum;
}
*/
import "C"

var callbackSite = newSite("cgo callback", 320)

//export goAllocates
func goAllocates(n C.int) C.int {
	for i := 0; i < int(n); i++ {
		keep(make([]byte, mark(callbackSite, 320)))
	}
	return n
}

func init() {
	scenarios["cgo"] = func(n int) {
		C.in_c(C.int(n))
		C.through_c(C.int(n))
	}
}

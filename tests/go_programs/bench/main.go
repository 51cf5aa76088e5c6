// A program to measure: it counts its operations and says on request how many it did and what CPU time it used.
//
//	bench loop DEPTH     allocates 64-byte objects as fast as it can, DEPTH frames below main
//	bench server ADDR    serves JSON over HTTP
//	bench stacks N       makes N profile records with different stacks and waits
//
// Commands on stdin: "now" answers "OPERATIONS CPU_NANOSECONDS"; end of input ends the program.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	_ "net/http/pprof" // keeps the runtime's sampler
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
)

var operations atomic.Int64
var keep []any
var sink *[64]byte

//go:noinline
func allocate() {
	for i := 0; i < 1000; i++ {
		sink = new([64]byte)
	}
	operations.Add(1000)
}

//go:noinline
func descend(depth int) {
	if depth > 0 {
		descend(depth - 1)
		return
	}
	for {
		allocate()
	}
}

// One path of calls for each number: a stack of its own per bit pattern.
//
//go:noinline
func left(path, depth int) {
	if depth == 0 {
		keep = append(keep, new([4096]byte))
		return
	}
	choose(path>>1, depth-1)
}

//go:noinline
func right(path, depth int) {
	if depth == 0 {
		keep = append(keep, new([4096]byte))
		return
	}
	choose(path>>1, depth-1)
}

//go:noinline
func choose(path, depth int) {
	if path&1 == 0 {
		left(path, depth)
	} else {
		right(path, depth)
	}
}

type item struct {
	ID    int               `json:"id"`
	Name  string            `json:"name"`
	Tags  []string          `json:"tags"`
	Extra map[string]string `json:"extra"`
}

func serve(address string) {
	http.HandleFunc("/items", func(w http.ResponseWriter, r *http.Request) {
		items := make([]item, 20)
		for i := range items {
			items[i] = item{i, "item " + strconv.Itoa(i), []string{"a", "b"}, map[string]string{"k": "v"}}
		}
		json.NewEncoder(w).Encode(items)
		operations.Add(1)
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServe(address, nil))
	os.Exit(1)
}

func cpuTime() int64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func main() {
	switch os.Args[1] {
	case "loop":
		depth, _ := strconv.Atoi(os.Args[2])
		go descend(depth)
	case "server":
		go serve(os.Args[2])
	case "stacks":
		runtime.MemProfileRate = 1
		count, _ := strconv.Atoi(os.Args[2])
		for i := 0; i < count; i++ {
			choose(i, 16)
		}
		runtime.GC()
		runtime.GC()
	}
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		fmt.Println(operations.Load(), cpuTime())
	}
}

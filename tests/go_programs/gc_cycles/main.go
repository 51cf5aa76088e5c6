// A program that collects garbage in every way there is: because its heap has grown, because it says so, because of a
// memory limit, and to look for leaked goroutines.
//
//	gc_cycles N
//
// waits for a line on stdin, runs N cycles or a few more, says "done", and waits for the end of its input.
package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
)

// Links the runtime's sampler.
var profile = runtime.MemProfile

type node struct {
	next *node
	data [5]int
}

var (
	held  []*node
	sinks [4]*node
)

func hold(megabytes int) {
	held = make([]*node, megabytes<<20/48)
	for i := range held {
		held[i] = &node{next: held[i/2]}
	}
}

func cycles() uint32 {
	var stats debug.GCStats
	debug.ReadGCStats(&stats)
	return uint32(stats.NumGC)
}

// Allocates on two threads until so many cycles have ended.
func grow(target uint32) {
	var stop int32
	var group sync.WaitGroup
	for worker := 0; worker < 2; worker++ {
		group.Add(1)
		go func(worker int) {
			defer group.Done()
			for atomic.LoadInt32(&stop) == 0 {
				for i := 0; i < 5000; i++ {
					sinks[worker] = &node{next: sinks[worker+2]}
				}
				if worker == 0 && cycles() >= target {
					atomic.StoreInt32(&stop, 1)
				}
			}
		}(worker)
	}
	group.Wait()
}

func main() {
	count, _ := strconv.Atoi(os.Args[1])
	input := bufio.NewScanner(os.Stdin)
	input.Scan()
	n := uint32(count)
	hold(1)
	grow(n * 7 / 10)
	for cycles() < n*9/10 {
		runtime.GC()
	}
	// In Go 1.27, or 1.26 with an experiment.
	if leaks := pprof.Lookup("goroutineleak"); leaks != nil {
		for i := 0; i < 3; i++ {
			leaks.WriteTo(io.Discard, 0)
		}
	}
	hold(4)
	debug.SetMemoryLimit(14 << 20)
	debug.SetGCPercent(-1)
	grow(n)
	debug.SetMemoryLimit(math.MaxInt64)
	fmt.Println("done")
	input.Scan()
	runtime.KeepAlive(profile)
}

// A program that knows of its garbage collector what its runtime can tell, by the runtime's own functions.
//
// It reads one command per line from stdin and answers each with lines on stdout, of which the last is "ok":
//
//	percent N  GOGC; -1: off
//	limit N    GOMEMLIMIT in bytes
//	grow N     allocates until N more cycles have ended. CYCLE TRIGGER LEAST MOST for each: at which size of the heap it was
//	           to begin, as the runtime said first, and in what range until it had ended
//	force N    runtime.GC(), N times
//	pauses     CYCLE NANOSECONDS of each, as debug.ReadGCStats knows them, at most the last 256
//	settings   GOGC GOMEMLIMIT as they are now, as the runtime has them
//	histogram  COUNT of the collector's stops that runtime/metrics has
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"unsafe"
)

//go:linkname controller runtime.gcController
var controller uint64

//go:linkname triggerOf runtime.(*gcControllerState).trigger
func triggerOf(controller unsafe.Pointer) (trigger, goal uint64)

type node struct {
	next *node
	data [7]int
}

var (
	held [40_000]*node
	sink *node
	// Its slices are used again: nothing shall be allocated but what is meant to be.
	stats debug.GCStats
)

func cycles() int64 {
	debug.ReadGCStats(&stats)
	return stats.NumGC
}

// What is alive grows and shrinks, so that no two cycles have the same goal.
func grow(output *bufio.Writer, n int) {
	for ; n > 0; n-- {
		before := cycles()
		first, _ := triggerOf(unsafe.Pointer(&controller))
		least, most := first, first
		for i := 0; cycles() == before; i++ {
			now, _ := triggerOf(unsafe.Pointer(&controller))
			if now < least {
				least = now
			}
			if now > most {
				most = now
			}
			for j := 0; j < 2000; j++ {
				sink = &node{}
				held[(i*17+j*(n%5+1))%len(held)] = sink
			}
		}
		fmt.Fprintln(output, before+1, first, least, most)
	}
}

func obey(output *bufio.Writer, command string, n int) {
	switch command {
	case "percent":
		debug.SetGCPercent(n)
	case "limit":
		debug.SetMemoryLimit(int64(n))
	case "grow":
		grow(output, n)
	case "force":
		for ; n > 0; n-- {
			runtime.GC()
		}
	case "pauses":
		last := cycles()
		for i, pause := range stats.Pause {
			fmt.Fprintln(output, last-int64(i), pause.Nanoseconds())
		}
	case "settings":
		percent := debug.SetGCPercent(-1) // there is no other way to ask
		debug.SetGCPercent(percent)
		fmt.Fprintln(output, percent, debug.SetMemoryLimit(-1))
	case "histogram":
		samples := []metrics.Sample{{Name: "/gc/pauses:seconds"}}
		metrics.Read(samples)
		count := uint64(0)
		for _, bucket := range samples[0].Value.Float64Histogram().Counts {
			count += bucket
		}
		fmt.Fprintln(output, count)
	}
	fmt.Fprintln(output, "ok")
}

func main() {
	debug.SetGCPercent(-1)
	output := bufio.NewWriter(os.Stdout)
	fmt.Fprintln(output, "ok")
	output.Flush()
	for input := bufio.NewScanner(os.Stdin); input.Scan(); output.Flush() {
		var command string
		var n int
		fmt.Sscan(input.Text(), &command, &n)
		obey(output, command, n)
	}
}

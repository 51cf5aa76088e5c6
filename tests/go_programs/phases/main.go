// A program whose load changes on command:
//
//	compute N  -> "done": keeps one CPU busy and allocates N objects per second meanwhile
//	idle       -> "done": does nothing
//	storm      -> "done": allocates as fast as it can
//	other      -> "done": the same, from another function
//	hold N     -> "done": allocates N objects of 4 KiB, 100 per second, and keeps them
//	gc         -> "done": collects garbage
//	now        -> "OBJECTS BYTES CPU_NANOSECONDS STEPS": what the load has allocated so far, the CPU time of the process, and
//	              how much it has computed
//
// End of input ends the program.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const objectBytes = 64

var (
	allocated atomic.Int64
	computed  atomic.Int64
	elsewhere atomic.Bool
	rate      atomic.Int64 // objects per second; 0 = idle, < 0 = as many as can be
	sink      *[objectBytes]byte
	held      []*[4096]byte
	result    uint64
)

//go:noinline
func allocate(count int64) {
	for i := int64(0); i < count; i++ {
		sink = new([objectBytes]byte)
	}
	allocated.Add(count)
}

//go:noinline
func allocateElsewhere(count int64) {
	for i := int64(0); i < count; i++ {
		sink = new([objectBytes]byte)
	}
	allocated.Add(count)
}

//go:noinline
func hold() {
	held = append(held, new([4096]byte))
}

func compute(steps int) {
	x := result | 1
	for i := 0; i < steps; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	result = x
	computed.Add(int64(steps))
}

func work() {
	begin, due := time.Now(), int64(0)
	current := int64(0)
	for {
		wanted := rate.Load()
		if wanted != current {
			begin, due, current = time.Now(), 0, wanted
		}
		switch {
		case wanted == 0:
			time.Sleep(time.Millisecond)
		case wanted < 0 && elsewhere.Load():
			allocateElsewhere(1000)
		case wanted < 0:
			allocate(1000)
		default:
			compute(100000)
			should := int64(time.Since(begin).Seconds() * float64(wanted))
			for ; due < should; due++ {
				allocate(1) // so that at most one has been made and not been counted
			}
		}
	}
}

func cpuTime() int64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func main() {
	go work()
	fmt.Println("ready")
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		words := strings.Fields(input.Text())
		switch words[0] {
		case "now":
			objects := allocated.Load()
			fmt.Println(objects, objects*objectBytes, cpuTime(), computed.Load())
			continue
		case "compute":
			n, _ := strconv.ParseInt(words[1], 10, 64)
			rate.Store(n)
		case "hold":
			n, _ := strconv.Atoi(words[1])
			for i := 0; i < n; i++ {
				hold()
				time.Sleep(10 * time.Millisecond)
			}
		case "gc":
			runtime.GC()
		case "idle":
			rate.Store(0)
		case "storm", "other":
			elsewhere.Store(words[0] == "other")
			rate.Store(-1)
		}
		fmt.Println("done")
	}
}

// Command keepers has functions that allocate objects of the same size classes, in random order, and do different things with
// them: one keeps them all, one the most recent, one none; and one that allocates little keeps all of it, a small leak. So who
// holds memory cannot be told from who allocates it, only from what the collector finds alive. Its runtime's sampler is off.
//
// It reads one command per line from stdin and answers each with lines on stdout, of which the last is "ok":
//
//	run N PAUSE   allocates N objects; after each 100 sleeps PAUSE microseconds, if that is not 0
//	drop          lets go of all that the keeping functions hold
//	gc            runtime.GC()
//	sites         FUNCTION OBJECTS HELD, both in bytes of slots
//	heap          HEAPALLOC of runtime.ReadMemStats
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"
)

type small struct{ pointers [8]*int }   // 64 bytes
type medium struct{ bytes [200]byte }   // a slot of 208
type larger struct{ pointers [64]*int } // 512

//go:noinline
func keepsSmall() unsafe.Pointer { return unsafe.Pointer(new(small)) }

//go:noinline
func recentSmall() unsafe.Pointer { return unsafe.Pointer(new(small)) }

//go:noinline
func dropsSmall() unsafe.Pointer { return unsafe.Pointer(new(small)) }

//go:noinline
func keepsMedium() unsafe.Pointer { return unsafe.Pointer(new(medium)) }

//go:noinline
func recentMedium() unsafe.Pointer { return unsafe.Pointer(new(medium)) }

//go:noinline
func dropsMedium() unsafe.Pointer { return unsafe.Pointer(new(medium)) }

//go:noinline
func leaksMedium() unsafe.Pointer { return unsafe.Pointer(new(medium)) }

//go:noinline
func keepsLarger() unsafe.Pointer { return unsafe.Pointer(new(larger)) }

//go:noinline
func recentLarger() unsafe.Pointer { return unsafe.Pointer(new(larger)) }

//go:noinline
func dropsLarger() unsafe.Pointer { return unsafe.Pointer(new(larger)) }

type site struct {
	name    string
	make    func() unsafe.Pointer
	bytes   uint64
	weight  int // of 100 objects
	keeps   int // how many of the most recent; -1: all
	objects uint64
	held    []unsafe.Pointer
	next    int
}

const recent = 20000

var sites = []*site{
	{name: "main.keepsSmall", make: keepsSmall, bytes: 64, weight: 20, keeps: -1},
	{name: "main.recentSmall", make: recentSmall, bytes: 64, weight: 15, keeps: recent},
	{name: "main.dropsSmall", make: dropsSmall, bytes: 64, weight: 15},
	{name: "main.keepsMedium", make: keepsMedium, bytes: 208, weight: 10, keeps: -1},
	{name: "main.recentMedium", make: recentMedium, bytes: 208, weight: 10, keeps: recent},
	{name: "main.dropsMedium", make: dropsMedium, bytes: 208, weight: 8},
	{name: "main.leaksMedium", make: leaksMedium, bytes: 208, weight: 2, keeps: -1},
	{name: "main.keepsLarger", make: keepsLarger, bytes: 512, weight: 5, keeps: -1},
	{name: "main.recentLarger", make: recentLarger, bytes: 512, weight: 5, keeps: recent / 4},
	{name: "main.dropsLarger", make: dropsLarger, bytes: 512, weight: 10},
}

var random = uint64(88172645463325252)

func below(limit int) int {
	random ^= random << 13
	random ^= random >> 7
	random ^= random << 17
	return int(random % uint64(limit))
}

func run(count, pause int) {
	for i := 0; i < count; i++ {
		place, k := below(100), 0
		for place >= sites[k].weight {
			place -= sites[k].weight
			k++
		}
		s := sites[k]
		p := s.make()
		s.objects++
		switch {
		case s.keeps < 0 || len(s.held) < s.keeps:
			s.held = append(s.held, p)
		case s.keeps > 0:
			s.held[s.next%s.keeps] = p
			s.next++
		}
		if pause != 0 && i%100 == 99 {
			time.Sleep(time.Duration(pause) * time.Microsecond)
		}
	}
}

var stats runtime.MemStats

func obey(output *bufio.Writer, command string, a, b int) {
	switch command {
	case "run":
		run(a, b)
	case "drop":
		for _, s := range sites {
			s.held, s.next = nil, 0
		}
	case "gc":
		runtime.GC()
	case "heap":
		runtime.ReadMemStats(&stats)
		fmt.Fprintln(output, stats.HeapAlloc)
	case "sites":
		for _, s := range sites {
			fmt.Fprintln(output, s.name, s.objects*s.bytes, uint64(len(s.held))*s.bytes)
		}
	}
	fmt.Fprintln(output, "ok")
}

func main() {
	for _, s := range sites { // so that the lists themselves are no news
		s.held = make([]unsafe.Pointer, 0, 200000)
	}
	output := bufio.NewWriter(os.Stdout)
	fmt.Fprintln(output, "ok")
	output.Flush()
	for input := bufio.NewScanner(os.Stdin); input.Scan(); output.Flush() {
		var command string
		var a, b int
		fmt.Sscan(input.Text(), &command, &a, &b)
		obey(output, command, a, b)
	}
}

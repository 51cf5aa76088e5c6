// Command places has functions that allocate in random order, some of them objects of one size class, and knows what each
// has allocated and holds. How fast it allocates, and which function how much, changes on command.
//
// It reads one command per line from stdin and answers each with lines on stdout, of which the last is "ok":
//
//	load N MIX KEEP  N objects for each 100 million steps that it computes, which take about 0.2 seconds of CPU time; < 0 = as
//	                 many as can be, 0 = none, and nothing is computed; MIX, 0 or 1, says which function how much, KEEP = 1
//	                 that the keeping functions keep theirs
//	gc               runtime.GC()
//	sites            FUNCTION OBJECTS HELD SLOT: how many it has allocated and holds, and the bytes of each
//
// With the build tag noprofile the runtime does not sample.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

//go:noinline
func small0() unsafe.Pointer { return unsafe.Pointer(new([8]*int)) }

//go:noinline
func small1() unsafe.Pointer { return unsafe.Pointer(new([8]*int)) }

//go:noinline
func text0() unsafe.Pointer { return unsafe.Pointer(new([208]byte)) }

//go:noinline
func text1() unsafe.Pointer { return unsafe.Pointer(new([208]byte)) }

//go:noinline
func keptPage() unsafe.Pointer { return unsafe.Pointer(new([4096]byte)) }

//go:noinline
func droppedPage() unsafe.Pointer { return unsafe.Pointer(new([4096]byte)) }

//go:noinline
func large() unsafe.Pointer { return unsafe.Pointer(new([40960]byte)) }

type place struct {
	name    string
	make    func() unsafe.Pointer
	slot    uint64
	mixes   [2]int // of a thousand objects
	keeps   bool
	objects uint64
	held    []unsafe.Pointer
}

var places = []*place{
	{name: "main.small0", make: small0, slot: 64, mixes: [2]int{200, 100}},
	{name: "main.small1", make: small1, slot: 64, mixes: [2]int{50, 450}},
	{name: "main.text0", make: text0, slot: 208, mixes: [2]int{50, 300}},
	{name: "main.text1", make: text1, slot: 208, mixes: [2]int{100, 129}},
	{name: "main.keptPage", make: keptPage, slot: 4096, mixes: [2]int{350, 5}, keeps: true},
	{name: "main.droppedPage", make: droppedPage, slot: 4096, mixes: [2]int{240, 15}},
	{name: "main.large", make: large, slot: 40960, mixes: [2]int{10, 1}},
}

var (
	lock   sync.Mutex // of the places and of what follows
	rate   int
	mix    int
	keep   bool
	sink   unsafe.Pointer
	random = uint64(88172645463325252)
	result uint64
)

func next() uint64 {
	random ^= random << 13
	random ^= random >> 7
	random ^= random << 17
	return random
}

func allocate(count int) {
	for ; count > 0; count-- {
		draw, k := int(next()%1000), 0
		for draw >= places[k].mixes[mix] {
			draw -= places[k].mixes[mix]
			k++
		}
		p := places[k]
		sink = p.make()
		p.objects++
		if keep && p.keeps {
			p.held = append(p.held, sink)
		}
	}
}

func compute(count int) {
	for ; count > 0; count-- {
		result ^= next()
	}
}

const steps = 500_000

func work() {
	due := 0.0
	for {
		lock.Lock()
		wanted := rate
		if wanted < 0 {
			allocate(1000)
		} else {
			due += float64(wanted) * steps / 100e6
			allocate(int(due))
			due -= float64(int(due))
		}
		lock.Unlock()
		if wanted > 0 {
			compute(steps)
		}
		if wanted >= 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

func obey(output *bufio.Writer, command string, a, b, c int) {
	switch command {
	case "load":
		lock.Lock()
		rate, mix, keep = a, b, c != 0
		lock.Unlock()
	case "gc":
		runtime.GC()
	case "sites":
		lock.Lock()
		for _, p := range places {
			fmt.Fprintln(output, p.name, p.objects, len(p.held), p.slot)
		}
		lock.Unlock()
	}
	fmt.Fprintln(output, "ok")
}

func main() {
	for _, p := range places {
		if p.keeps {
			p.held = make([]unsafe.Pointer, 0, 100_000) // so that the list itself is no news
		}
	}
	go work()
	output := bufio.NewWriter(os.Stdout)
	fmt.Fprintln(output, "ok")
	output.Flush()
	for input := bufio.NewScanner(os.Stdin); input.Scan(); output.Flush() {
		var command string
		var a, b, c int
		fmt.Sscan(input.Text(), &command, &a, &b, &c)
		obey(output, command, a, b, c)
	}
}

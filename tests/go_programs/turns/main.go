// Command turns allocates from two places in strict turns, all of one size class, so that the place for which the
// allocator takes a new span is not the place that uses it. Its runtime's sampler is off: nothing in it reads memory
// profiles, so the linker saw to that.
//
// It reads one command per line from stdin and answers each with lines on stdout, of which the last is "ok":
//
//	keep FIRST SECOND          how many of its last objects each place holds from now on
//	run KIND OBJECTS SECONDS   takes turns, so that there are this many objects per millisecond
//	work KIND OBJECTS SECONDS  the same, and keeps a CPU busy in between
//	gc                         runtime.GC()
//	sites                      FUNCTION OBJECTS HELD of each place
//
// KIND: ab (first, second), abbb (first, second, second, second), maps (the same with maps that have eight entries),
// alone (first only), other (second only).
//
// Started as turns BALLAST: bytes that it holds, so that garbage is collected seldom.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

type object struct{ words [4]*byte } // 32 bytes with pointers

// What holds its last objects: pointers and maps, which interfaces hold without allocating.
type place struct {
	function string
	objects  int64
	kept     []interface{}
	next     int
}

func (p *place) keep(o interface{}) {
	p.objects++
	if len(p.kept) == 0 {
		return
	}
	p.kept[p.next] = o
	if p.next++; p.next == len(p.kept) {
		p.next = 0
	}
}

func (p *place) resize(n int) {
	p.kept = make([]interface{}, n)
	p.next = 0
}

func (p *place) held() int {
	held := 0
	for _, o := range p.kept {
		if o != nil {
			held++
		}
	}
	return held
}

var (
	first  = &place{function: "main.takeFirst"}
	second = &place{function: "main.takeSecond"}

	firstMap  = &place{function: "main.fillFirst"}
	secondMap = &place{function: "main.fillSecond"}
)

//go:noinline
func takeFirst() { first.keep(new(object)) }

//go:noinline
func takeSecond() { second.keep(new(object)) }

//go:noinline
func fillFirst() {
	m := map[int64]*byte{}
	for i := int64(0); i < 8; i++ {
		m[i] = nil
	}
	firstMap.keep(m)
}

//go:noinline
func fillSecond() {
	m := map[int64]*byte{}
	for i := int64(0); i < 8; i++ {
		m[i] = nil
	}
	secondMap.keep(m)
}

type kind struct {
	turn    func()
	objects int // in a turn
}

var kinds = map[string]kind{
	"ab":    {func() { takeFirst(); takeSecond() }, 2},
	"abbb":  {func() { takeFirst(); takeSecond(); takeSecond(); takeSecond() }, 4},
	"maps":  {func() { fillFirst(); fillSecond(); fillSecond(); fillSecond() }, 4},
	"alone": {takeFirst, 1},
	"other": {takeSecond, 1},
}

// In pieces of a millisecond, so that the rate is kept however slow probes make the program.
func run(k kind, perMilli, millis int, pause func()) {
	perMilli /= k.objects
	turns := perMilli * millis
	begin := time.Now()
	for done := 0; done < turns; {
		due := int(time.Since(begin).Milliseconds()) * perMilli
		if due > turns {
			due = turns
		}
		if due == done {
			pause()
		}
		for ; done < due; done++ {
			k.turn()
		}
	}
}

func sleep() { time.Sleep(time.Millisecond / 4) }

var result uint64

func compute() {
	for i := uint64(0); i < 10000; i++ {
		result = result*6364136223846793005 + i
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}

func main() {
	ballast := make([]byte, number(os.Args[1]))
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	out := bufio.NewWriter(os.Stdout)
	fmt.Fprintln(out, "ok")
	out.Flush()
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		words := strings.Fields(input.Text())
		switch words[0] {
		case "keep":
			for i, p := range []*place{first, second, firstMap, secondMap} {
				p.resize(number(words[1+i%2]))
			}
		case "run":
			run(kinds[words[1]], number(words[2]), 1000*number(words[3]), sleep)
		case "work":
			run(kinds[words[1]], number(words[2]), 1000*number(words[3]), compute)
		case "gc":
			runtime.GC()
		case "sites":
			for _, p := range []*place{first, second, firstMap, secondMap} {
				fmt.Fprintln(out, p.function, p.objects, p.held())
			}
		}
		fmt.Fprintln(out, "ok")
		out.Flush()
	}
	runtime.KeepAlive(ballast)
}

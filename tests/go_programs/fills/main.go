// Command fills makes garbage all the time, and when it is told to fills a cache at once with objects of the size that others
// of its functions allocate now and then. Its runtime's sampler is off: nothing in it reads memory profiles.
//
// It reads one command per line from stdin and answers each with lines on stdout, of which the last is "ok":
//
//	fill OBJECTS   holds so many more
//	trickle RATE   so many objects of their size per second are allocated and dropped from now on
//	allocated      BYTES of the objects that were dropped
//	gc             runtime.GC()
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

type object struct{ words [32]*byte } // 256 bytes

var (
	cache   []*object
	dropped *object
	garbage []byte
	rate    int64
	trickle int64
)

//go:noinline
func fillCache(objects int) {
	for i := 0; i < objects; i++ {
		cache = append(cache, new(object))
	}
}

//go:noinline
func dropSome(objects int64) {
	for i := int64(0); i < objects; i++ {
		dropped = new(object)
	}
	atomic.AddInt64(&trickle, objects)
}

//go:noinline
func makeGarbage(objects int) {
	for i := 0; i < objects; i++ {
		garbage = make([]byte, 704)
	}
}

func main() {
	go func() {
		for {
			time.Sleep(10 * time.Millisecond)
			makeGarbage(2000)
			dropSome(atomic.LoadInt64(&rate) / 100)
		}
	}()
	fmt.Println("ok")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		number := 0
		if len(words) > 1 {
			number, _ = strconv.Atoi(words[1])
		}
		switch words[0] {
		case "fill":
			fillCache(number)
		case "trickle":
			atomic.StoreInt64(&rate, int64(number))
		case "allocated":
			fmt.Println(atomic.LoadInt64(&trickle) * 256)
		case "gc":
			runtime.GC()
		default:
			panic("what is " + words[0] + "?")
		}
		fmt.Println("ok")
	}
}

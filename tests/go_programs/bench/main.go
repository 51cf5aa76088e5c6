// A program to measure: it counts its operations and says on request how many it did and what CPU time it used.
//
//	bench loop DEPTH [MB]  allocates 64-byte objects as fast as it can, DEPTH frames below main; or so many MB per second
//	bench words            counts the words of a text in a map of strings, again and again
//	bench server ADDR      serves JSON over HTTP
//	bench stacks N         makes N profile records with different stacks and waits
//
// Commands on stdin: "now" answers "OPERATIONS CPU_NANOSECONDS"; end of input ends the program.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	_ "net/http/pprof" // keeps the runtime's sampler
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
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

// Bytes per second that the loop may allocate; 0 = as many as it can.
var pace int64

//go:noinline
func descend(depth int) {
	if depth > 0 {
		descend(depth - 1)
		return
	}
	began, done := time.Now(), int64(0)
	for {
		allocate()
		if pace == 0 {
			continue
		}
		done += 1000 * 64
		if early := time.Duration(done*1e9/pace) - time.Since(began); early > time.Millisecond {
			time.Sleep(early)
		}
	}
}

// Words of many lengths, some often and some seldom, the same text at each start.
func text(words int) []byte {
	var text []byte
	state := uint64(1)
	for i := 0; i < words; i++ {
		state = state*6364136223846793005 + 1442695040888963407
		number := state >> 33 % 50_000
		if state>>60 < 12 {
			number %= 500
		}
		text = strconv.AppendUint(append(text, "word"...), number*number, 36)
		text = append(text, ' ')
	}
	return text
}

func countWords() {
	input := text(200_000)
	for {
		counts := map[string]int{}
		scanner := bufio.NewScanner(bytes.NewReader(input))
		scanner.Split(bufio.ScanWords)
		for words := int64(1); scanner.Scan(); words++ {
			counts[scanner.Text()]++
			if words%1000 == 0 {
				operations.Add(1000)
			}
		}
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
		if len(os.Args) > 3 {
			megabytes, _ := strconv.ParseInt(os.Args[3], 10, 64)
			pace = megabytes * 1_000_000
		}
		go descend(depth)
	case "words":
		go countWords()
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

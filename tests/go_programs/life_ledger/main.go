// Command life_ledger holds objects of many kinds, lets go of them and takes others in their place, and keeps a table of
// which it holds that an observer can read from its memory at any moment. Its runtime's sampler is off: nothing in it
// reads memory profiles, so the linker saw to that.
//
// It reads one command per line from stdin and answers each with lines on stdout, of which the last is "ok":
//
//	table         ADDRESS COUNT of the table. An entry is two words: the address of an object, and its number << 2, with
//	              bit 0 set from before the program lets go of it, and bit 1 from after that
//	hold A B      allocates the objects A to B-1 of the table
//	drop A B      lets go of these
//	replace N     lets go of N objects each millisecond, chosen at random, and takes new ones; 0: no more
//	churn N       N goroutines allocate garbage of the same kinds, until
//	calm          ends that
//	stacks N      allocates N objects of 512 KiB that die at once, each on a stack of its own, up to 4096
//	gc            runtime.GC()
//	percent N     GOGC; 0: no garbage collection but by the command above
//	limit N       GOMEMLIMIT in bytes
//	held          KIND OBJECTS BYTES, what is held of each kind, in bytes of slots
//	heap          HEAPALLOC TOTALALLOC MALLOCS FREES NUMGC of runtime.ReadMemStats, then SIZE MALLOCS of each size class, of
//	              runtime/metrics, which has them all; SIZE 0: of what is larger than these
//
// With the build tag "profile" the runtime samples as it does in most programs.
//
// Started as life_ledger COUNT IGNORED.
package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// In memory that the collector does not scan: no pointers.
type entry struct {
	address uint64
	state   uint64
}

var (
	table    []entry
	held     []unsafe.Pointer
	numbers  uint64
	lock     sync.Mutex // of the three above
	replaced int64
	churning int32
	churners sync.WaitGroup
	stats    runtime.MemStats
	bySize   = []metrics.Sample{{Name: "/gc/heap/allocs-by-size:bytes"}}
	random   = uint64(88172645463325252)
)

const kinds = 14

// Bytes of the slot of each kind, as the program finds out at its start: versions differ by the words that they put
// before an object. Tiny objects share slots of 16 bytes.
var slotBytes = [kinds]uint64{tinyKind: 8}

const tinyKind = 0

func init() {
	const times = 64
	for kind := range slotBytes {
		if kind == tinyKind {
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := 0; i < times; i++ {
			sink = allocate(kind)
		}
		runtime.ReadMemStats(&after)
		slotBytes[kind] = (after.TotalAlloc - before.TotalAlloc) / times
		if slotBytes[kind] > 32768 {
			slotBytes[kind] &^= 8191 // whole pages; the rest is what ReadMemStats itself allocated
		}
	}
}

var sink unsafe.Pointer

// Sizes in bytes, without pointers and with; two of them share a size class, three are larger than 32 KiB or near it.

//go:noinline
func tiny() unsafe.Pointer { return unsafe.Pointer(new(uint64)) }

//go:noinline
func plain16() unsafe.Pointer { return unsafe.Pointer(new([2]uint64)) }

//go:noinline
func pointers8() unsafe.Pointer { return unsafe.Pointer(new(*int)) }

//go:noinline
func pointers24() unsafe.Pointer { return unsafe.Pointer(new([3]*int)) }

//go:noinline
func pointers64() unsafe.Pointer { return unsafe.Pointer(new([8]*int)) }

//go:noinline
func plain100() unsafe.Pointer { return unsafe.Pointer(new([100]byte)) }

//go:noinline
func pointers512() unsafe.Pointer { return unsafe.Pointer(new([64]*int)) }

//go:noinline
func pointers800() unsafe.Pointer { return unsafe.Pointer(new([100]*int)) }

//go:noinline
func pointers1024() unsafe.Pointer { return unsafe.Pointer(new([128]*int)) }

//go:noinline
func plain4096() unsafe.Pointer { return unsafe.Pointer(new([4096]byte)) }

//go:noinline
func pointers20000() unsafe.Pointer { return unsafe.Pointer(new([2500]*int)) }

//go:noinline
func plain40000() unsafe.Pointer { return unsafe.Pointer(new([40000]byte)) }

//go:noinline
func pointers100000() unsafe.Pointer { return unsafe.Pointer(new([12500]*int)) }

var letters = []byte("a text that is longer than it looks")

//go:noinline
func text() unsafe.Pointer {
	s := string(letters)
	return *(*unsafe.Pointer)(unsafe.Pointer(&s))
}

var makers = [kinds]func() unsafe.Pointer{tiny, plain16, pointers8, pointers24, pointers64, plain100, pointers512,
	pointers800, pointers1024, plain4096, pointers20000, plain40000, pointers100000, text}

func allocate(kind int) unsafe.Pointer { return makers[kind]() }

// The larger, the rarer.
func kindOf(index int) int {
	switch {
	case index%500 == 0:
		return 12
	case index%500 == 250:
		return 11
	case index%250 == 125:
		return 10
	case index%20 == 7:
		return 9
	}
	kind := index % 10
	if kind == 9 {
		kind = 13
	}
	return kind
}

func hold(index int) {
	p := allocate(kindOf(index))
	held[index] = p
	numbers++
	atomic.StoreUint64(&table[index].state, 1)
	atomic.StoreUint64(&table[index].address, uint64(uintptr(p)))
	atomic.StoreUint64(&table[index].state, numbers<<2)
}

func drop(index int) {
	// Two steps: a thread can lose its processor between them, for as long as a cycle takes.
	atomic.StoreUint64(&table[index].state, table[index].state|1)
	held[index] = nil
	atomic.StoreUint64(&table[index].state, table[index].state|2)
}

func next(limit int) int {
	random ^= random << 13
	random ^= random >> 7
	random ^= random << 17
	return int(random % uint64(limit))
}

func replacer() {
	for {
		time.Sleep(time.Millisecond)
		for n := atomic.LoadInt64(&replaced); n > 0; n-- {
			lock.Lock()
			if index := next(len(table)); held[index] != nil {
				drop(index)
				hold(index)
			}
			lock.Unlock()
		}
	}
}

func churn() {
	defer churners.Done()
	var recent [16]unsafe.Pointer
	for i := 0; atomic.LoadInt32(&churning) != 0; i++ {
		recent[i%len(recent)] = allocate(kindOf(i))
		if i%200 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	runtime.KeepAlive(&recent)
}

// The bits of path say who calls whom.
//
//go:noinline
func left(path, depth int) []byte { return branch(path, depth) }

//go:noinline
func right(path, depth int) []byte { return branch(path, depth) }

//go:noinline
func branch(path, depth int) []byte {
	if depth == 0 {
		return make([]byte, 1<<19)
	}
	if path&1 == 0 {
		return left(path>>1, depth-1)
	}
	return right(path>>1, depth-1)
}

func obey(output *bufio.Writer, command string, a, b int) {
	lock.Lock()
	defer lock.Unlock()
	switch command {
	case "table":
		fmt.Fprintln(output, uint64(uintptr(unsafe.Pointer(&table[0]))), len(table))
	case "hold":
		for index := a; index < b; index++ {
			hold(index)
		}
	case "drop":
		for index := a; index < b; index++ {
			drop(index)
		}
	case "replace":
		atomic.StoreInt64(&replaced, int64(a))
	case "churn":
		atomic.StoreInt32(&churning, 1)
		for ; a > 0; a-- {
			churners.Add(1)
			go churn()
		}
	case "calm":
		atomic.StoreInt32(&churning, 0)
		churners.Wait()
	case "stacks":
		for path := 0; path < a; path++ {
			sink = unsafe.Pointer(&branch(path, 12)[0])
		}
	case "gc":
		runtime.GC()
	case "percent":
		if a == 0 {
			a = -1
		}
		debug.SetGCPercent(a)
	case "limit":
		debug.SetMemoryLimit(int64(a))
	case "heap":
		runtime.ReadMemStats(&stats)
		fmt.Fprintln(output, stats.HeapAlloc, stats.TotalAlloc, stats.Mallocs, stats.Frees, stats.NumGC)
		metrics.Read(bySize)
		classes := bySize[0].Value.Float64Histogram()
		for i, mallocs := range classes.Counts {
			size := 0
			if end := classes.Buckets[i+1]; !math.IsInf(end, 1) {
				size = int(end) - 1
			}
			fmt.Fprintln(output, size, mallocs)
		}
	case "held":
		var objects [kinds]uint64
		for index := range table {
			if held[index] != nil {
				objects[kindOf(index)]++
			}
		}
		for kind, count := range objects {
			fmt.Fprintln(output, kind, count, count*slotBytes[kind])
		}
	}
	fmt.Fprintln(output, "ok")
}

func main() {
	count, _ := strconv.Atoi(os.Args[1])
	table = make([]entry, count)
	held = make([]unsafe.Pointer, count)
	for index := range table {
		table[index].state = 1
	}
	go replacer()
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

// Command heap_ledger holds a heap that it is told to hold, from as many call sites as it is told, and can show its
// own books of it: what runtime.MemProfile says, record by record, and where its objects are.
//
// It reads one command per line from stdin and answers each with lines on stdout, of which the last is "ok":
//
//	hold A B      allocates one object at each of the call sites A to B-1
//	drop A B      forgets these objects
//	gc            runtime.GC()
//	profile       ALLOCS FREES ALLOC_BYTES FREE_BYTES PC PC ... of each record of runtime.MemProfile
//	objects       SITE ADDRESS of each object that is held
//	gcstats       NUMGC NUMFORCEDGC PAUSE PAUSE ..., the pauses of the last 256 cycles, oldest first
//	memstats      the numbers of runtime.ReadMemStats: one line of the totals in the order of the struct, followed by the
//	              numbers of goroutines, threads and processors, and one line SIZE MALLOCS FREES for each size class
//	limit N       sets the memory limit to N MiB, 0 = none
//	park N        N goroutines more that wait for ever
//	rate N        sets runtime.MemProfileRate
//	churn N       allocates at the call sites 0 to N-1 and collects garbage, without pause, until
//	calm          ends that
//
// Started as heap_ledger RATE RECORDS: MemProfileRate, and room for so many records. Reading a command and taking the
// profile allocate nothing, so that an observer who looked before asking sees the same books.
package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const maxSites = 1 << 14

var (
	held    [maxSites]unsafe.Pointer
	records []runtime.MemProfileRecord
	stats   runtime.MemStats
	input   [256]byte
	output  = bufio.NewWriterSize(os.Stdout, 1<<16)

	churning int32
	churners sync.WaitGroup
)

type node struct {
	next  *node
	other *node
	value int
}

// One call site has objects of one size: small and large, with and without pointers, with and without a malloc header.
func allocate(site int) unsafe.Pointer {
	switch site % 6 {
	case 0:
		return unsafe.Pointer(new(node))
	case 1:
		return unsafe.Pointer(&make([]byte, 100)[0])
	case 2:
		return unsafe.Pointer(new([100]*node))
	case 3:
		return unsafe.Pointer(&append([]int64(nil), 1, 2, 3)[0])
	case 4:
		if site%36 == 4 {
			return unsafe.Pointer(&make([]byte, 40000)[0])
		}
		return unsafe.Pointer(&[]byte(fmt.Sprint("site ", site, " of many more"))[0])
	default:
		return unsafe.Pointer(&make([]*node, site%500+1)[0])
	}
}

// Every site has a stack of its own: each of its bits is a call of zero or of one.
//
//go:noinline
func zero(site, bit int) unsafe.Pointer {
	p := descend(site, bit)
	runtime.KeepAlive(site)
	return p
}

//go:noinline
func one(site, bit int) unsafe.Pointer {
	p := descend(site, bit)
	runtime.KeepAlive(bit)
	return p
}

// Small enough to be inlined into zero and one: their frames are logical ones.
func descend(site, bit int) unsafe.Pointer {
	if bit == 0 {
		return bottom(site)
	}
	if site>>(bit-1)&1 == 0 {
		return zero(site, bit-1)
	}
	return one(site, bit-1)
}

//go:noinline
func bottom(site int) unsafe.Pointer {
	if site%1000 == 999 {
		return deep(site, 60)
	}
	return allocate(site)
}

//go:noinline
func deep(site, depth int) unsafe.Pointer {
	if depth == 0 {
		return allocate(site)
	}
	p := deep(site, depth-1)
	runtime.KeepAlive(depth)
	return p
}

func churn(sites, worker int) {
	defer churners.Done()
	for site := worker; atomic.LoadInt32(&churning) != 0; site = (site + 7) % sites {
		zero(site, 14)
		if site%101 == 0 {
			runtime.GC()
		}
	}
}

func threads() int {
	n, _ := runtime.ThreadCreateProfile(nil)
	return n
}

func obey(command string, a, b int) {
	switch command {
	case "hold":
		for site := a; site < b; site++ {
			held[site] = zero(site, 14)
		}
	case "drop":
		for site := a; site < b; site++ {
			held[site] = nil
		}
	case "gc":
		runtime.GC()
	case "profile":
		n, ok := runtime.MemProfile(records, true)
		if !ok {
			fmt.Fprintln(output, "too many records:", n)
			return
		}
		for i := range records[:n] {
			r := &records[i]
			fmt.Fprint(output, r.AllocObjects, r.FreeObjects, r.AllocBytes, r.FreeBytes)
			for _, pc := range r.Stack() {
				fmt.Fprint(output, " ", uint64(pc))
			}
			fmt.Fprintln(output)
		}
	case "objects":
		for site, p := range held {
			if p != nil {
				fmt.Fprintln(output, site, uint64(uintptr(p)))
			}
		}
	case "gcstats":
		runtime.ReadMemStats(&stats)
		fmt.Fprint(output, stats.NumGC, stats.NumForcedGC)
		first := uint32(0)
		if stats.NumGC > 256 {
			first = stats.NumGC - 256
		}
		for cycle := first; cycle < stats.NumGC; cycle++ {
			fmt.Fprint(output, " ", stats.PauseNs[cycle%256])
		}
		fmt.Fprintln(output)
	case "memstats":
		runtime.ReadMemStats(&stats)
		m := &stats
		fmt.Fprintln(output, m.Alloc, m.TotalAlloc, m.Sys, m.Lookups, m.Mallocs, m.Frees, m.HeapAlloc, m.HeapSys,
			m.HeapIdle, m.HeapInuse, m.HeapReleased, m.HeapObjects, m.StackInuse, m.StackSys, m.MSpanInuse,
			m.MSpanSys, m.MCacheInuse, m.MCacheSys, m.BuckHashSys, m.GCSys, m.OtherSys, m.NextGC, m.LastGC,
			m.PauseTotalNs, m.NumGC, m.NumForcedGC, runtime.NumGoroutine(), threads(), runtime.GOMAXPROCS(0))
		for i := range m.BySize {
			fmt.Fprintln(output, m.BySize[i].Size, m.BySize[i].Mallocs, m.BySize[i].Frees)
		}
	case "limit":
		limit := int64(a) << 20
		if a == 0 {
			limit = math.MaxInt64
		}
		debug.SetMemoryLimit(limit)
	case "park":
		for i := 0; i < a; i++ {
			go func() { select {} }()
		}
	case "rate":
		runtime.MemProfileRate = a
	case "churn":
		atomic.StoreInt32(&churning, 1)
		for worker := 0; worker < 2; worker++ {
			churners.Add(1)
			go churn(a, worker)
		}
	case "calm":
		atomic.StoreInt32(&churning, 0)
		churners.Wait()
	default:
		fmt.Fprintln(output, "unknown command")
		return
	}
	fmt.Fprintln(output, "ok")
}

// Splits "word number number", without allocating; the word is one of those that obey knows.
func parse(line []byte) (command string, numbers [2]int) {
	for _, known := range [...]string{"hold", "drop", "memstats", "gcstats", "gc", "profile", "objects", "rate", "churn", "calm", "limit", "park"} {
		if len(line) >= len(known) && string(line[:len(known)]) == known {
			command = known
			break
		}
	}
	next := 0
	for i := len(command); i < len(line) && next < 2; i++ {
		if line[i] < '0' || line[i] > '9' {
			continue
		}
		for ; i < len(line) && line[i] >= '0' && line[i] <= '9'; i++ {
			numbers[next] = numbers[next]*10 + int(line[i]-'0')
		}
		next++
	}
	return command, numbers
}

func main() {
	rate, _ := strconv.Atoi(os.Args[1])
	room, _ := strconv.Atoi(os.Args[2])
	runtime.MemProfileRate = rate
	records = make([]runtime.MemProfileRecord, room)
	fmt.Fprintln(output, "ok")
	output.Flush()
	// A raw read: the command comes in one piece, since it is written so and waited for.
	for {
		n, err := syscall.Read(0, input[:])
		if err != nil || n <= 0 {
			return
		}
		command, numbers := parse(input[:n-1])
		obey(command, numbers[0], numbers[1])
		output.Flush()
	}
}

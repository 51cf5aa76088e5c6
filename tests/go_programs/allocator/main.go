// allocator does what it is told, one command per line of standard input, and answers each with one line:
//
//	mallocs        -> "MALLOCS TOTALALLOC" of runtime.MemStats
//	sampled        -> "ALLOCOBJECTS FREEOBJECTS ALLOCBYTES FREEBYTES RECORDS" of runtime.MemProfile, after three GC cycles
//	work NAME N    -> "done": runs a workload
//	seen ADDRESS   -> 1 if the workload "fragments" has allocated an object at this (decimal) address, else 0
//	exec           -> becomes a new process image of the same file; answers "ready" like every start
//	exec PATH      -> becomes that program
//
// RATE in the environment sets runtime.MemProfileRate. Commands are read and answered without allocating, so that nothing but the workload comes between two readings.
package main

import (
	"os"
	"runtime"
	_ "runtime/pprof" // keeps the runtime's sampler linked in
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

type pair struct{ left, right *pair }
type plain struct{ numbers [7]int64 }
type wide struct {
	next *wide
	data [90]int64
}

// Sinks make what is assigned to them escape.
var (
	sinkBytes  []byte
	sinkPair   *pair
	sinkPlain  *plain
	sinkWide   *wide
	sinkInt    *int
	sinkAny    interface{}
	sinkString string
	sinkMap    map[string]int
	sinkFunc   func() int
	sinkPairs  []*pair
	sinkArray  *[5000]*int
	filled     []*wide
)

// mixed allocates objects of every sort: sizes of all classes, with and without pointers, tiny, large, zero.
func mixed(n int) {
	for i := 0; i < n; i++ {
		sinkPair = &pair{}
		sinkPlain = new(plain)
		sinkWide = &wide{}
		sinkInt = new(int)
		sinkAny = i + 1000
		sinkBytes = make([]byte, i%2000)
		sinkBytes = make([]byte, 1+i%15)
		sinkPairs = append(sinkPairs[:0:0], make([]*pair, 1+i%300)...)
		sinkString = strings.Repeat("x", 1+i%70)
		sinkFunc = func() int { return i }
		if i%50 == 0 {
			sinkArray = new([5000]*int)
			sinkBytes = make([]byte, 32700+i%200)
			sinkMap = map[string]int{}
			for k := 0; k < 20; k++ {
				sinkMap[strconv.Itoa(k)] = k
			}
		}
	}
}

// untiny allocates nothing below 16 bytes, so that the bytes of all objects add up to TotalAlloc.
func untiny(n int) {
	for i := 0; i < n; i++ {
		sinkPair = &pair{}
		sinkPlain = new(plain)
		sinkWide = &wide{}
		sinkBytes = make([]byte, 16+i%40000)
		sinkPairs = make([]*pair, 1+i%4200)
	}
}

//go:noinline
func descend(depth int) int {
	var frame [12]int
	frame[depth%12] = depth
	sinkLocal := new(pair)
	sinkPair = sinkLocal
	if depth > 0 {
		return descend(depth-1) + frame[(depth+1)%12]
	}
	return frame[0]
}

// grow starts goroutines whose stacks must grow while they allocate.
func grow(n int) {
	var all sync.WaitGroup
	for i := 0; i < n; i++ {
		all.Add(1)
		go func() {
			descend(60)
			all.Done()
		}()
		if i%32 == 31 {
			all.Wait()
		}
	}
	all.Wait()
}

// preempt keeps more goroutines busy than there are processors, with collections running.
func preempt(n int) {
	var all sync.WaitGroup
	for w := 0; w < 16; w++ {
		all.Add(1)
		go func() {
			defer all.Done()
			var held []*plain
			for i := 0; i < n; i++ {
				held = append(held, new(plain))
				if len(held) > 500 {
					held = nil
				}
				_ = strconv.Itoa(i * 1000)
			}
		}()
	}
	for g := 0; g < 20; g++ {
		runtime.GC()
	}
	all.Wait()
}

// deep allocates under more frames than a profiler keeps.
func deep(n int) {
	for i := 0; i < n; i++ {
		descend(300)
	}
}

// churn holds a changing set of larger objects, for the sampler.
func churn(n int) {
	held := make([][]byte, 256)
	for i := 0; i < n; i++ {
		held[i%len(held)] = make([]byte, 512+i%4096)
	}
	sinkBytes = held[0]
}

// fragments leaves holes in the spans of a class, one to seven slots wide, and fills them again. It keeps every object that
// it fills them with, and notes where it is.
func fragments(n int) {
	held := make([]*wide, n)
	for i := range held {
		held[i] = new(wide)
	}
	for i := range held {
		if i*i%11 < 6 {
			held[i] = nil
		}
	}
	runtime.GC()
	filled = make([]*wide, n)
	for i := range filled {
		filled[i] = new(wide)
	}
	runtime.KeepAlive(held)
}

// one allocates a single object, so that a caller can tell hits apart.
func one(n int) {
	for i := 0; i < n; i++ {
		sinkPlain = new(plain)
	}
}

// threads starts goroutines that take their thread with them, so that the scheduler allocates new ones.
func threads(n int) {
	var all sync.WaitGroup
	for i := 0; i < n; i++ {
		all.Add(1)
		go func() {
			runtime.LockOSThread()
			descend(20)
			pause := syscall.Timespec{Nsec: 100000}
			syscall.Nanosleep(&pause, nil)
			all.Done()
		}()
		if i%8 == 7 {
			all.Wait()
		}
	}
	all.Wait()
}

var workloads = map[string]func(int){
	"mixed": mixed, "untiny": untiny, "grow": grow, "preempt": preempt, "deep": deep, "churn": churn, "one": one,
	"fragments": fragments, "threads": threads,
}

var (
	input   [256]byte
	output  [256]byte
	stats   runtime.MemStats
	records = make([]runtime.MemProfileRecord, 20000)
)

// readLine reads byte by byte, so that nothing is taken that belongs to the next image after exec.
func readLine() (int, bool) {
	for n := 0; n < len(input); {
		got, err := syscall.Read(0, input[n:n+1])
		if err == syscall.EINTR {
			continue
		}
		if err != nil || got == 0 {
			return 0, false
		}
		if input[n] == '\n' {
			return n, true
		}
		n++
	}
	return 0, false
}

func answer(values ...uint64) {
	line := output[:0]
	for i, value := range values {
		if i > 0 {
			line = append(line, ' ')
		}
		line = strconv.AppendUint(line, value, 10)
	}
	syscall.Write(1, append(line, '\n'))
}

func say(text string) {
	syscall.Write(1, append(append(output[:0], text...), '\n'))
}

func sampled() {
	// Allocations reach the published profile two cycles later, frees after their sweep.
	runtime.GC()
	runtime.GC()
	runtime.GC()
	n, ok := runtime.MemProfile(records, true)
	if !ok {
		say("too many records")
		return
	}
	var allocs, frees, allocBytes, freeBytes uint64
	for i := 0; i < n; i++ {
		allocs += uint64(records[i].AllocObjects)
		frees += uint64(records[i].FreeObjects)
		allocBytes += uint64(records[i].AllocBytes)
		freeBytes += uint64(records[i].FreeBytes)
	}
	answer(allocs, frees, allocBytes, freeBytes, uint64(n))
}

func main() {
	if rate, err := strconv.Atoi(os.Getenv("RATE")); err == nil {
		runtime.MemProfileRate = rate
	}
	say("ready")
	for {
		n, ok := readLine()
		if !ok {
			return
		}
		switch command := input[:n]; {
		case string(command) == "mallocs":
			runtime.ReadMemStats(&stats)
			answer(stats.Mallocs, stats.TotalAlloc)
		case string(command) == "sampled":
			sampled()
		case n > 5 && string(command[:5]) == "seen ":
			address, found := uintptr(0), uint64(0)
			for _, digit := range command[5:] {
				address = address*10 + uintptr(digit-'0')
			}
			for _, object := range filled {
				// Up to 1.21 an object begins where its slot does; later this one has a header of 8 bytes before it.
				if at := uintptr(unsafe.Pointer(object)); at == address || at == address+8 {
					found = 1
				}
			}
			answer(found)
		case string(command) == "exec":
			syscall.Exec("/proc/self/exe", os.Args, os.Environ())
			say("exec failed")
		case n > 5 && string(command[:5]) == "exec ":
			syscall.Exec(string(command[5:]), os.Args, os.Environ())
			say("exec failed")
		case n > 5 && string(command[:5]) == "work ":
			name, count := command[5:], 0
			for i, c := range name {
				if c == ' ' {
					for _, digit := range name[i+1:] {
						count = count*10 + int(digit-'0')
					}
					name = name[:i]
					break
				}
			}
			if run := workloads[string(name)]; run != nil {
				run(count)
				say("done")
			} else {
				say("no such workload")
			}
		default:
			say("unknown command")
		}
	}
}

// forks is a program that does what profilers do not expect: it forks without executing anything, and it allocates on more
// stacks than anybody has room for. One command per line of standard input, each answered with one line:
//
//	mallocs      -> "MALLOCS" of runtime.MemStats
//	work N       -> "done": allocates N objects
//	fork         -> "PID": a child that goes on with this program's memory, breakpoints in its code too: it allocates, checks
//	                what it has allocated, and so on until this program is gone
//	child        -> "ROUNDS ERRORS" of all children
//	branches N   -> "done": allocates N objects, each on a stack of its own
//
// RATE in the environment sets runtime.MemProfileRate. Commands are read and answered without allocating. To be run with
// GOMAXPROCS=1: a child has one thread only, and nobody to wait for.
package main

import (
	"os"
	"runtime"
	"runtime/debug"
	_ "runtime/pprof" // keeps the runtime's sampler linked in
	"strconv"
	"sync/atomic"
	"syscall"
	"unsafe"
)

type node struct {
	next  *node
	value uint64
	pad   [6]uint64
}

// What parent and children both see.
type ledger struct{ rounds, errors int64 }

var (
	shared   *ledger
	sink     *node
	stats    runtime.MemStats
	input    [4096]byte
	used     int
	taken    int
	output   [64]byte
	oneMilli = syscall.Timespec{Nsec: 1000000}
)

//go:noinline
func parentWork(n int) {
	for i := 0; i < n; i++ {
		sink = &node{value: uint64(i)}
	}
}

// Deep enough for the stack to grow now and then.
//
//go:noinline
func childRound(depth int, seed uint64) uint64 {
	var room [8]uint64
	room[depth%8] = seed
	n := &node{value: seed}
	sink = n
	n.pad[depth%6] = seed + 1
	sum := uint64(0)
	if depth > 0 {
		sum = childRound(depth-1, seed*6364136223846793005+1)
	}
	return sum + n.value ^ n.pad[depth%6] ^ room[(depth+1)%8]
}

// work of a child, which never returns: whoever is not the program's main thread is gone, so nothing may wait for them.
func child(parent uintptr) {
	const seed = 4711
	want := childRound(20, seed)
	for {
		if childRound(20, seed) != want {
			atomic.AddInt64(&shared.errors, 1)
		}
		atomic.AddInt64(&shared.rounds, 1)
		syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&oneMilli)), 0, 0)
		if now, _, _ := syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0); now != parent {
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
}

func fork() uintptr {
	parent, _, _ := syscall.RawSyscall(syscall.SYS_GETPID, 0, 0, 0)
	// The child cannot collect garbage, which takes other threads; nor may a collection be under way.
	percent := debug.SetGCPercent(-1)
	runtime.GC()
	pid, _, errno := syscall.RawSyscall(syscall.SYS_FORK, 0, 0, 0)
	if errno != 0 {
		panic(errno)
	}
	if pid == 0 {
		child(parent)
	}
	debug.SetGCPercent(percent)
	return pid
}

//go:noinline
func branch(path, depth int) int {
	if depth == 0 {
		sink = &node{value: uint64(path)}
		return path
	}
	if path&1 == 0 {
		return 2 * branch(path>>1, depth-1)
	}
	return 3 + branch(path>>1, depth-1)
}

func main() {
	if rate := os.Getenv("RATE"); rate != "" {
		runtime.MemProfileRate, _ = strconv.Atoi(rate)
	}
	memory, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANON)
	if err != nil {
		panic(err)
	}
	shared = (*ledger)(unsafe.Pointer(&memory[0]))
	say("ready")
	for {
		line := readLine()
		if line == nil {
			return
		}
		obey(line)
	}
}

func obey(line []byte) {
	word, number := line, 0
	for i, c := range line {
		if c == ' ' {
			word = line[:i]
			for _, digit := range line[i+1:] {
				number = number*10 + int(digit-'0')
			}
			break
		}
	}
	switch string(word) {
	case "mallocs":
		runtime.ReadMemStats(&stats)
		sayNumbers(stats.Mallocs)
	case "work":
		parentWork(number)
		say("done")
	case "fork":
		sayNumbers(uint64(fork()))
	case "child":
		sayNumbers(uint64(atomic.LoadInt64(&shared.rounds)), uint64(atomic.LoadInt64(&shared.errors)))
	case "branches":
		for i := 0; i < number; i++ {
			branch(i, 20)
		}
		say("done")
	default:
		say("unknown command")
	}
}

func say(word string) {
	text := append(append(output[:0], word...), '\n')
	syscall.Write(1, text)
}

func sayNumbers(numbers ...uint64) {
	text := output[:0]
	for i, number := range numbers {
		if i > 0 {
			text = append(text, ' ')
		}
		text = strconv.AppendUint(text, number, 10)
	}
	syscall.Write(1, append(text, '\n'))
}

// The next line without its end, nil at the end of input; valid until the next call.
func readLine() []byte {
	copy(input[:], input[taken:used])
	used -= taken
	taken = 0
	for {
		for i := 0; i < used; i++ {
			if input[i] == '\n' {
				taken = i + 1
				return input[:i]
			}
		}
		n, err := syscall.Read(0, input[used:])
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return nil
		}
		used += n
	}
}

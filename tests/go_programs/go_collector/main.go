// A program that says of itself what Prometheus' Go collector exports, each value computed from the runtime's own numbers
// as that collector does: https://github.com/prometheus/client_golang/blob/v1.20.5/prometheus/go_collector_latest.go
//
// It reads one command per line from stdin and answers each with lines on stdout, of which the last is "ok":
//
//	values     NAME VALUE of each metric, durations in nanoseconds; and "version TEXT"
//	work N     allocates N objects that die, some with others in their place, and some of less than 16 bytes
//	park N     N goroutines more, that wait for ever
//	gc         runtime.GC()
//	percent N  GOGC; -1: off
//	limit N    GOMEMLIMIT in bytes
//
// Between two commands it does nothing, and until "values" has looked, nothing is allocated.
package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"time"
)

// Links the runtime's sampler.
var profile = runtime.MemProfile

const (
	objects  = "/memory/classes/heap/objects:bytes"
	unused   = "/memory/classes/heap/unused:bytes"
	released = "/memory/classes/heap/released:bytes"
	free     = "/memory/classes/heap/free:bytes"
	stacks   = "/memory/classes/heap/stacks:bytes"
	mspan    = "/memory/classes/metadata/mspan/"
	mcache   = "/memory/classes/metadata/mcache/"
	tiny     = "/gc/heap/tiny/allocs:objects"
	percent  = "/gc/gogc:percent"
	limit    = "/gc/gomemlimit:bytes"
	procs    = "/sched/gomaxprocs:threads"
)

// Each is the sum of these.
var collected = []struct {
	name  string
	parts []string
}{
	{"go_memstats_alloc_bytes", []string{objects}},
	{"go_memstats_alloc_bytes_total", []string{"/gc/heap/allocs:bytes"}},
	{"go_memstats_buck_hash_sys_bytes", []string{"/memory/classes/profiling/buckets:bytes"}},
	{"go_memstats_frees_total", []string{"/gc/heap/frees:objects", tiny}},
	{"go_memstats_gc_sys_bytes", []string{"/memory/classes/metadata/other:bytes"}},
	{"go_memstats_heap_alloc_bytes", []string{objects}},
	{"go_memstats_heap_idle_bytes", []string{released, free}},
	{"go_memstats_heap_inuse_bytes", []string{objects, unused}},
	{"go_memstats_heap_objects", []string{"/gc/heap/objects:objects"}},
	{"go_memstats_heap_released_bytes", []string{released}},
	{"go_memstats_heap_sys_bytes", []string{objects, unused, released, free}},
	{"go_memstats_mallocs_total", []string{"/gc/heap/allocs:objects", tiny}},
	{"go_memstats_mcache_inuse_bytes", []string{mcache + "inuse:bytes"}},
	{"go_memstats_mcache_sys_bytes", []string{mcache + "inuse:bytes", mcache + "free:bytes"}},
	{"go_memstats_mspan_inuse_bytes", []string{mspan + "inuse:bytes"}},
	{"go_memstats_mspan_sys_bytes", []string{mspan + "inuse:bytes", mspan + "free:bytes"}},
	{"go_memstats_next_gc_bytes", []string{"/gc/heap/goal:bytes"}},
	{"go_memstats_other_sys_bytes", []string{"/memory/classes/other:bytes"}},
	{"go_memstats_stack_inuse_bytes", []string{stacks}},
	{"go_memstats_stack_sys_bytes", []string{stacks, "/memory/classes/os-stacks:bytes"}},
	{"go_memstats_sys_bytes", []string{"/memory/classes/total:bytes"}},
	{"go_gc_gogc_percent", []string{percent}},
	{"go_gc_gomemlimit_bytes", []string{limit}},
	{"go_sched_gomaxprocs_threads", []string{procs}},
}

var (
	input   [256]byte
	samples []metrics.Sample
	indexes = map[string]int{}
	memory  runtime.MemStats
	gc      = debug.GCStats{PauseQuantiles: make([]time.Duration, 5)}
	held    [1000]*[5]int
	bytes   [1000]*byte
	// Versions before 1.21 have no metric of it.
	asked = 100
)

func prepare() {
	for _, metric := range collected {
		for _, part := range metric.parts {
			if _, known := indexes[part]; !known {
				indexes[part] = len(samples)
				samples = append(samples, metrics.Sample{Name: part})
			}
		}
	}
	metrics.Read(samples) // what the first one allocates
}

// Of older versions, which have no such metric.
func otherwise(name string) uint64 {
	switch name {
	case percent:
		return uint64(int64(asked))
	case limit:
		return uint64(debug.SetMemoryLimit(-1))
	case procs:
		return uint64(runtime.GOMAXPROCS(0))
	}
	panic("no metric " + name)
}

func values(output *bufio.Writer) {
	// Objects are counted by each processor for itself; this adds up what the metrics are made of.
	runtime.ReadMemStats(&memory)
	metrics.Read(samples)
	goroutines := runtime.NumGoroutine()
	threads, _ := runtime.ThreadCreateProfile(nil)
	debug.ReadGCStats(&gc)
	for _, metric := range collected {
		sum := uint64(0)
		for _, part := range metric.parts {
			if value := samples[indexes[part]].Value; value.Kind() == metrics.KindUint64 {
				sum += value.Uint64()
			} else {
				sum += otherwise(part)
			}
		}
		fmt.Fprintln(output, metric.name, sum)
	}
	fmt.Fprintln(output, "go_goroutines", goroutines)
	fmt.Fprintln(output, "go_threads", threads)
	fmt.Fprintln(output, "go_memstats_last_gc_time_seconds", gc.LastGC.UnixNano())
	fmt.Fprintln(output, "go_gc_duration_seconds_count", gc.NumGC)
	fmt.Fprintln(output, "go_gc_duration_seconds_sum", gc.PauseTotal.Nanoseconds())
	for i, pause := range gc.PauseQuantiles {
		fmt.Fprintln(output, "quantile", float64(i)/4, pause.Nanoseconds())
	}
	fmt.Fprintln(output, "version", runtime.Version())
}

func obey(output *bufio.Writer, command string, n int) {
	switch command {
	case "work":
		for i := 0; i < n; i++ {
			held[i*7%len(held)] = new([5]int)
			bytes[i%len(bytes)] = new(byte)
		}
	case "park":
		for i := 0; i < n; i++ {
			go func() { select {} }()
		}
	case "gc":
		runtime.GC()
	case "percent":
		asked = n
		debug.SetGCPercent(n)
	case "limit":
		if n == 0 {
			n = math.MaxInt64
		}
		debug.SetMemoryLimit(int64(n))
	}
}

func main() {
	prepare()
	output := bufio.NewWriterSize(os.Stdout, 1<<16)
	fmt.Fprintln(output, "ok")
	output.Flush()
	// A raw read: the command comes in one piece, since it is written so and waited for.
	for {
		n, err := syscall.Read(0, input[:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			runtime.KeepAlive(profile)
			return
		}
		if string(input[:n]) == "values\n" {
			values(output)
		} else {
			var command string
			var number int
			fmt.Sscan(string(input[:n]), &command, &number)
			obey(output, command, number)
		}
		fmt.Fprintln(output, "ok")
		output.Flush()
	}
}

// A program that stops all its goroutines for every reason that there is, so often as it is told.
//
//	line on stdin    answer
//	stop N           provokes each of them N times: "REASON=COUNT" for each, separated by ";", as the runtime calls it
//	count            "GC OTHER", as runtime/metrics has counted them since the program started; "- -" up to Go 1.21
//
// Its collector runs only when told.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/trace"
	"strings"
	"syscall"
)

// Links the runtime's sampler.
var profile = runtime.MemProfile

func count(name string) string {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return "-"
	}
	sum := uint64(0)
	for _, n := range sample[0].Value.Float64Histogram().Counts {
		sum += n
	}
	return fmt.Sprint(sum)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func stop() {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	runtime.GOMAXPROCS(3)
	runtime.GOMAXPROCS(4)
	if _, ok := runtime.GoroutineProfile(make([]runtime.StackRecord, 100)); !ok {
		panic("too many goroutines")
	}
	runtime.Stack(make([]byte, 1<<16), true)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	must(err)
	debug.WriteHeapDump(null.Fd())
	null.Close()
	must(trace.Start(io.Discard))
	trace.Stop()
	if _, _, errno := syscall.AllThreadsSyscall(syscall.SYS_GETPID, 0, 0, 0); errno != 0 {
		panic(errno)
	}
	runtime.GC()
}

func main() {
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(4)
	fmt.Println("ready")
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		if input.Text() == "count" {
			fmt.Println(count("/sched/pauses/total/gc:seconds"), count("/sched/pauses/total/other:seconds"))
			continue
		}
		n := 0
		fmt.Sscanf(input.Text(), "stop %d", &n)
		for i := 0; i < n; i++ {
			stop()
		}
		said := []string{fmt.Sprintf("read mem stats=%d", n), fmt.Sprintf("GOMAXPROCS=%d", 2*n), fmt.Sprintf("write heap dump=%d", n)}
		for _, reason := range strings.Split(reasons, ";") {
			said = append(said, fmt.Sprintf("%s=%d", reason, n))
		}
		fmt.Println(strings.Join(said, ";"))
	}
	runtime.KeepAlive(profile)
}

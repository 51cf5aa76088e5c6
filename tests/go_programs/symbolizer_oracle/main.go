// Asks its own Go runtime what it knows of its code and stacks, and prints the answers, for a comparison with
// goheapd's symbolizer (tests/unit/gobin/symbolizer_comparison.h). One fact a line, strings interned:
//
//	S ID TEXT                                     a string
//	B ADDRESS                                     where file offset 0 of this program is mapped
//	P PC CALL_PC ENTRY FUNCTION FILE LINE INLINED SYMBOL START_LINE AT_PC
//	                                              runtime.CallersFrames([PC]), and runtime.FuncForPC(PC).Name()
//	C PCS... | RETURN_ADDRESSES...                runtime.Callers and the frame-pointer walk of the same moment
//	R PCS...                                      stack of a heap profile record
//	L ADDRESS:FUNCTION,FILE,LINE,START;... ...    stack of a sample of the same profile in pprof's format
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
)

type printer struct {
	out     *bufio.Writer
	strings map[string]int
}

func (p *printer) id(text string) int {
	id, known := p.strings[text]
	if !known {
		id = len(p.strings)
		p.strings[text] = id
		fmt.Fprintf(p.out, "S %d %s\n", id, text)
	}
	return id
}

func die(err error) {
	fmt.Fprintln(os.Stderr, "symbolizer_oracle:", err)
	os.Exit(1)
}

func mappedStart() string {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		die(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		die(err)
	}
	for _, line := range strings.Split(string(maps), "\n") {
		fields := strings.Fields(line)
		if len(fields) == 6 && fields[5] == exe && strings.Trim(fields[2], "0") == "" {
			return strings.SplitN(fields[0], "-", 2)[0]
		}
	}
	die(fmt.Errorf("%s is not in /proc/self/maps", exe))
	return ""
}

// Every stride-th address of the Go text.
func (p *printer) addresses(stride uintptr) {
	low, high := textRange()
	for pc := low; pc < high; pc += stride {
		frames := runtime.CallersFrames([]uintptr{pc})
		frame, _ := frames.Next()
		inlined := 0
		if frame.Func == nil {
			inlined = 1
		}
		atPC := ""
		if f := runtime.FuncForPC(pc); f != nil {
			atPC = f.Name()
		}
		symbol, start := symbolOf(&frame)
		name, file, symbolID, at := p.id(frame.Function), p.id(frame.File), p.id(symbol), p.id(atPC)
		fmt.Fprintf(p.out, "P %x %x %x %d %d %d %d %d %d %d\n",
			pc, frame.PC, frame.Entry, name, file, frame.Line, inlined, symbolID, start, at)
	}
}

// The Go text: from the entry of the first function to the last address that belongs to one.
func textRange() (uintptr, uintptr) {
	pc, _, _, _ := runtime.Caller(0)
	low, high := pc, pc
	const step = 1 << 12
	for runtime.FuncForPC(low-step) != nil {
		low -= step
	}
	for runtime.FuncForPC(low-1) != nil {
		low--
	}
	for runtime.FuncForPC(high+step) != nil {
		high += step
	}
	for runtime.FuncForPC(high) != nil {
		high++
	}
	return low, high
}

func (p *printer) observedStacks() {
	for _, observed := range observations {
		fmt.Fprint(p.out, "C")
		for _, pc := range observed.callers {
			fmt.Fprintf(p.out, " %x", pc)
		}
		fmt.Fprint(p.out, " |")
		for _, pc := range observed.framePointers {
			fmt.Fprintf(p.out, " %x", pc)
		}
		fmt.Fprintln(p.out)
	}
}

func (p *printer) heapProfile() {
	// The published profile is that of the last completed cycle; the workload must have got there.
	runtime.GC()
	runtime.GC()
	runtime.MemProfileRate = 0
	var text, proto bytes.Buffer
	// The two formats are written one after the other; the runtime's own goroutines may allocate in between.
	for unchanged := ""; ; {
		text.Reset()
		if err := pprof.Lookup("heap").WriteTo(&text, 1); err != nil {
			die(err)
		}
		if records := recordsOf(text.String()); records == unchanged {
			break
		} else {
			unchanged = records
		}
		proto.Reset()
		if err := pprof.Lookup("heap").WriteTo(&proto, 0); err != nil {
			die(err)
		}
	}
	// Samples first: they intern the strings by which the records are compared with them.
	if err := p.protoSamples(proto.Bytes()); err != nil {
		die(err)
	}
	fmt.Fprint(p.out, recordsOf(text.String()))
}

// The stacks of a heap profile in text form.
func recordsOf(text string) string {
	var records strings.Builder
	for i, line := range strings.Split(text, "\n") {
		at := strings.Index(line, " @")
		if i == 0 || at < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		records.WriteString("R")
		for _, field := range strings.Fields(line[at+2:]) {
			records.WriteString(" " + strings.TrimPrefix(field, "0x"))
		}
		records.WriteString("\n")
	}
	return records.String()
}

func main() {
	stride := 1
	if len(os.Args) > 1 {
		var err error
		if stride, err = strconv.Atoi(os.Args[1]); err != nil || stride < 1 {
			die(fmt.Errorf("usage: symbolizer_oracle [STRIDE]"))
		}
	}
	workload()
	p := &printer{out: bufio.NewWriterSize(os.Stdout, 1<<16), strings: map[string]int{}}
	p.id("")
	fmt.Fprintln(p.out, "B", mappedStart())
	p.heapProfile()
	p.observedStacks()
	p.addresses(uintptr(stride))
	if err := p.out.Flush(); err != nil {
		die(err)
	}
}

// Command target is what goheapd is tested on: a Go program that allocates what it is told to, when it is told to, and
// can say what the Go runtime itself knows about that.
//
// It reads one command per line from stdin and answers each with one line on stdout, "ok ..." or "error ...":
//
//	mallocs               ok MALLOCS FREES NUMGC   runtime.MemStats; this command allocates nothing at all
//	run SCENARIO N        ok                       see scenarios.go
//	scenarios             ok NAME NAME ...
//	sites                 ok JSON                  what the allocation sites saw, see sites.go
//	forget                ok                       drops all that scenarios have kept alive
//	gc                    ok                       runtime.GC()
//	rate N                ok                       sets runtime.MemProfileRate
//	profile FILE          ok                       pprof.Lookup("heap") as protobuf
//	load GOROUTINES       ok                       allocates in the background and checks what it computes
//	status                ok ROUNDS ERRORS         of that load
//	stop                  ok ROUNDS ERRORS
//	spawn N               ok N                     starts N other programs, one after the other
//	exec FILE ARGS...     (the answer is the next program's)
//	exit                  ok
//
// Between two commands it does nothing, so that an observer and the program can be compared at the same moment.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	if rate := os.Getenv("TARGET_PROFILE_RATE"); rate != "" {
		value, err := strconv.Atoi(rate)
		if err != nil {
			panic(err)
		}
		runtime.MemProfileRate = value
	}
	os.Stdout.WriteString("ok " + runtime.Version() + "\n")
	for {
		line := readLine()
		if line == nil {
			return
		}
		if string(line) == "mallocs" {
			writeMallocs()
			continue
		}
		answer, err := obey(strings.Fields(string(line)))
		if err != nil {
			fmt.Printf("error %v\n", err)
			continue
		}
		fmt.Printf("ok %s\n", answer)
		if string(line) == "exit" {
			return
		}
	}
}

func obey(words []string) (string, error) {
	if len(words) == 0 {
		return "", fmt.Errorf("empty command")
	}
	switch {
	case words[0] == "run" && len(words) == 3:
		n, err := strconv.Atoi(words[2])
		if err != nil {
			return "", err
		}
		return "", runScenario(words[1], n)
	case words[0] == "scenarios":
		return scenarioNames(), nil
	case words[0] == "sites":
		return describeSites()
	case words[0] == "forget":
		forget()
		return "", nil
	case words[0] == "gc":
		runtime.GC()
		return "", nil
	case words[0] == "rate" && len(words) == 2:
		rate, err := strconv.Atoi(words[1])
		runtime.MemProfileRate = rate
		return "", err
	case words[0] == "profile" && len(words) == 2:
		return "", writeProfile(words[1])
	case words[0] == "load" && len(words) == 2:
		n, err := strconv.Atoi(words[1])
		if err != nil {
			return "", err
		}
		startLoad(n)
		return "", nil
	case words[0] == "status":
		return loadStatus(), nil
	case words[0] == "stop":
		stopLoad()
		return loadStatus(), nil
	case words[0] == "spawn" && len(words) == 2:
		n, err := strconv.Atoi(words[1])
		if err != nil {
			return "", err
		}
		return spawn(n)
	case words[0] == "exec" && len(words) >= 2:
		return "", syscall.Exec(words[1], words[1:], os.Environ())
	case words[0] == "exit":
		return "", nil
	}
	return "", fmt.Errorf("unknown command %q", words)
}

func spawn(n int) (string, error) {
	good := 0
	for i := 0; i < n; i++ {
		text, err := exec.Command("/bin/echo", "child", strconv.Itoa(i)).Output()
		if err != nil {
			return "", err
		}
		if string(text) == fmt.Sprintf("child %d\n", i) {
			good++
		}
	}
	return strconv.Itoa(good), nil
}

var (
	input      [4096]byte
	inputUsed  int
	inputTaken int
	stats      runtime.MemStats
	output     [128]byte
)

// readLine gives the next line without its end, nil at the end of input. It allocates nothing; the line is valid until
// the next call.
func readLine() []byte {
	copy(input[:], input[inputTaken:inputUsed])
	inputUsed -= inputTaken
	for {
		if end := bytes.IndexByte(input[:inputUsed], '\n'); end >= 0 {
			inputTaken = end + 1
			return input[:end]
		}
		n, err := syscall.Read(0, input[inputUsed:])
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return nil
		}
		inputUsed += n
	}
}

// writeMallocs answers "mallocs". Nothing may allocate from the moment ReadMemStats has looked until the next command.
func writeMallocs() {
	runtime.ReadMemStats(&stats)
	text := append(output[:0], "ok "...)
	text = strconv.AppendUint(text, stats.Mallocs, 10)
	text = append(text, ' ')
	text = strconv.AppendUint(text, stats.Frees, 10)
	text = append(text, ' ')
	text = strconv.AppendUint(text, uint64(stats.NumGC), 10)
	text = append(text, '\n')
	syscall.Write(1, text)
}

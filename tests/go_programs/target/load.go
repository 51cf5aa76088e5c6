package main

import (
	"fmt"
	"hash/crc32"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
)

// The load computes the same value in every round by ways that allocate, and counts the rounds that came out wrong: a
// program that is disturbed by being watched would show it here.
var (
	loadRounds, loadErrors int64
	loadStop               chan bool
	loadGroup              sync.WaitGroup
)

type record struct {
	key   string
	words []string
	next  *record
}

//go:noinline
func loadRound(seed int) uint32 {
	index := map[string]*record{}
	var head *record
	for i := 0; i < 200; i++ {
		key := "key-" + strconv.Itoa((i*7919+seed)%200)
		r := &record{key: key, next: head}
		for j := 0; j < i%5; j++ {
			r.words = append(r.words, fmt.Sprintf("%s/%d", key, j))
		}
		index[key] = r
		head = r
	}
	keys := make([]string, 0, len(index))
	for key := range index {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	sum := crc32.NewIEEE()
	for _, key := range keys {
		sum.Write([]byte(key))
	}
	length := 0
	for r := head; r != nil; r = r.next {
		length += len(r.words)
	}
	return sum.Sum32() + uint32(length)
}

func startLoad(goroutines int) {
	want := loadRound(0)
	loadStop = make(chan bool)
	for g := 0; g < goroutines; g++ {
		loadGroup.Add(1)
		go func(g int) {
			defer loadGroup.Done()
			for seed := g; ; seed++ {
				select {
				case <-loadStop:
					return
				default:
				}
				// The keys are the same whatever the seed is.
				if loadRound(seed) != want {
					atomic.AddInt64(&loadErrors, 1)
				}
				atomic.AddInt64(&loadRounds, 1)
			}
		}(g)
	}
}

func loadStatus() string {
	return fmt.Sprint(atomic.LoadInt64(&loadRounds), " ", atomic.LoadInt64(&loadErrors))
}

func stopLoad() {
	if loadStop != nil {
		close(loadStop)
		loadGroup.Wait()
		loadStop = nil
	}
}

package main

import (
	"fmt"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

// What scenarios keep alive until "forget". Each has its own slot, so that nothing is freed by surprise.
var (
	kept      [][]byte
	keptNodes []*node
	last      atomic.Value
	dropped   []byte
)

type node struct {
	next  *node
	value int
	pad   [6]int
}

// Small enough to be inlined, so what append allocates is seen in keep, not in the site's own frame.
func keep(b []byte)    { kept = append(kept, b) }
func keepNode(n *node) { keptNodes = append(keptNodes, n) }

//go:noinline
func drop(b []byte) { dropped = b }

func forget() {
	kept, keptNodes = nil, nil
	keptMap, keptText, keptBoxes, keptChannels = nil, "", nil, nil
}

var scenarios = map[string]func(n int){
	"direct":     direct,
	"nodes":      nodes,
	"deep":       func(n int) { deep(n, 300) },
	"inlined":    inlined,
	"generics":   generics,
	"methods":    methods,
	"closures":   closures,
	"maps":       maps,
	"strings":    buildStrings,
	"appends":    appends,
	"boxes":      boxes,
	"channels":   channels,
	"large":      large,
	"tiny":       tiny,
	"stacks":     stacks,
	"goroutines": goroutines,
	"preempted":  preempted,
	"garbage":    garbage,
}

func runScenario(name string, n int) error {
	run, ok := scenarios[name]
	if !ok {
		return fmt.Errorf("no scenario %q", name)
	}
	run(n)
	return nil
}

func scenarioNames() string {
	names := []string{}
	for name := range scenarios {
		names = append(names, name)
	}
	sort.Strings(names)
	return strings.Join(names, " ")
}

// ---- one allocation site each, called n times ----

var directSite = newSite("direct", 64)

//go:noinline
func direct(n int) {
	for i := 0; i < n; i++ {
		keep(make([]byte, mark(directSite, 64)))
	}
}

var nodeSite = newSite("nodes", 64)

//go:noinline
func nodes(n int) {
	for i := 0; i < n; i++ {
		keepNode(&node{value: mark(nodeSite, i)})
	}
}

var deepSite = newSite("deep", 96)

// Deeper than any profiler's limit.
//
//go:noinline
func deep(n, depth int) {
	if depth > 0 {
		deep(n, depth-1)
		return
	}
	for i := 0; i < n; i++ {
		keep(make([]byte, mark(deepSite, 96)))
	}
}

var inlinedSite = newSite("inlined", 128)

func inlinedInner() []byte { return make([]byte, mark(inlinedSite, 128)) }
func inlinedOuter() []byte { return inlinedInner() }

//go:noinline
func inlined(n int) {
	for i := 0; i < n; i++ {
		keep(inlinedOuter())
	}
}

type pair[K comparable, V any] struct {
	key   K
	value V
	rest  [4]V
}

var (
	genericSite       = newSite("generic function", 0)
	genericMethodSite = newSite("generic method", 0)
	genericSink       any
)

//go:noinline
func makePair[K comparable, V any](key K, value V) *pair[K, V] {
	return &pair[K, V]{key: key, value: value, rest: [4]V{3: [1]V{value}[mark(genericSite, 0)]}}
}

//go:noinline
func (p *pair[K, V]) grow(n int) []V { return make([]V, mark(genericMethodSite, n)) }

//go:noinline
func generics(n int) {
	for i := 0; i < n; i++ {
		p := makePair("key", i)
		genericSink = p
		genericSink = p.grow(100)
		genericSink = makePair(i, "value")
	}
}

type shape interface{ area(n int) []byte }
type square struct{ side int }
type circle struct{ square } // its area is a wrapper that the compiler makes

var (
	valueMethodSite   = newSite("value method", 160)
	pointerMethodSite = newSite("pointer method", 192)
)

//go:noinline
func (s square) area(n int) []byte { return make([]byte, mark(valueMethodSite, n)) }

//go:noinline
func (s *square) scale(n int) []byte { return make([]byte, mark(pointerMethodSite, n)) }

//go:noinline
func methods(n int) {
	for _, s := range []shape{square{1}, &square{2}, circle{}, &circle{}} {
		for i := 0; i < n; i++ {
			keep(s.area(160))
		}
	}
	for i := 0; i < n; i++ {
		keep((&square{i}).scale(192))
	}
}

var (
	closureSite = newSite("closure", 224)
	sortSite    = newSite("closure under the standard library", 48)
	deferSite   = newSite("deferred closure", 256)
)

//go:noinline
func closures(n int) {
	size := 224
	allocate := func() { keep(make([]byte, mark(closureSite, size))) }
	for i := 0; i < n; i++ {
		allocate()
	}
	for i := 0; i < n; i++ {
		sort.Slice([]int{2, 1}, func(a, b int) bool {
			keep(make([]byte, mark(sortSite, 48)))
			return false
		})
	}
	defer func() {
		for i := 0; i < n; i++ {
			keep(make([]byte, mark(deferSite, 256)))
		}
	}()
}

// ---- the runtime's other ways to allocate ----

var (
	keptMap      map[int]*node
	keptText     string
	keptBoxes    []any
	keptChannels []chan int
)

//go:noinline
func maps(n int) {
	keptMap = map[int]*node{}
	for i := 0; i < n; i++ {
		keptMap[i] = &node{value: i}
	}
}

//go:noinline
func buildStrings(n int) {
	var b strings.Builder
	for i := 0; i < n; i++ {
		keptText = fmt.Sprint("text ", i) + keptText[:len(keptText)/2]
		b.WriteString(strings.Repeat("x", i%50))
		kept = append(kept, []byte(keptText))
	}
	keptText = b.String()
}

//go:noinline
func appends(n int) {
	var numbers []int
	var pointers []*node
	for i := 0; i < n; i++ {
		numbers = append(numbers, i)
		pointers = append(pointers, nil)
	}
	keptBoxes = append(keptBoxes, numbers, pointers)
}

//go:noinline
func boxes(n int) {
	for i := 0; i < n; i++ {
		keptBoxes = append(keptBoxes, i+1000, fmt.Sprint(i), float64(i), struct{ a, b int }{i, i})
	}
}

//go:noinline
func channels(n int) {
	for i := 0; i < n; i++ {
		keptChannels = append(keptChannels, make(chan int), make(chan int, 10))
		pointers := make(chan *node, 3)
		pointers <- nil
	}
}

var largeSite = newSite("large", 1<<20)

//go:noinline
func large(n int) {
	for i := 0; i < n; i++ {
		keep(make([]byte, mark(largeSite, 1<<20)))
	}
}

//go:noinline
func tiny(n int) {
	for i := 0; i < n; i++ {
		b := make([]byte, 1+i%15)
		p := new(int16)
		last.Store([2]any{b, p})
	}
}

// ---- what makes counting hard ----

// Every level of the recursion allocates on a stack that has just had to grow.
//
//go:noinline
func growStack(depth int) int {
	var room [512]byte
	room[depth%512] = byte(depth)
	b := make([]byte, 32+depth%64)
	sum := int(b[0])
	if depth > 0 {
		sum += growStack(depth - 1)
	}
	return sum + int(room[(depth+7)%512])
}

// n goroutines one after the other, each with a fresh stack.
func stacks(n int) {
	for i := 0; i < n; i++ {
		done := make(chan int)
		go func() { done <- growStack(40) }()
		<-done
	}
}

// n goroutines at once.
func goroutines(n int) {
	var group sync.WaitGroup
	var total int64
	for i := 0; i < n; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			atomic.AddInt64(&total, int64(growStack(i%20)))
			runtime.Gosched()
			b := make([]byte, 1+i%3000)
			atomic.AddInt64(&total, int64(len(b)))
		}(i)
	}
	group.Wait()
}

// Goroutines that never yield by themselves, more than there are threads, while the collector runs again and again:
// each of them is preempted, mostly at a function's stack check.
func preempted(n int) {
	var group sync.WaitGroup
	stop := make(chan bool)
	collected := make(chan bool)
	go func() {
		for {
			select {
			case <-stop:
				close(collected)
				return
			default:
				runtime.GC()
			}
		}
	}()
	for g := 0; g < 4*runtime.GOMAXPROCS(0); g++ {
		group.Add(1)
		go func() {
			defer group.Done()
			var list *node
			for i := 0; i < n; i++ {
				list = &node{next: list, value: len(make([]byte, 8+i%200))}
				if i%100 == 0 {
					list = nil
				}
			}
			last.Store([2]any{list, nil})
		}()
	}
	group.Wait()
	close(stop)
	<-collected
}

var garbageSite = newSite("garbage", 4096)

// Objects that die at once.
//
//go:noinline
func garbage(n int) {
	for i := 0; i < n; i++ {
		drop(make([]byte, mark(garbageSite, 4096)))
	}
}

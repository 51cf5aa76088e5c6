package main

import (
	"encoding/json"
	"runtime"
	"sync/atomic"
)

// A site is one line of source that allocates. It remembers the call stack that the runtime sees there.
type site struct {
	name  string
	size  int // bytes of one object; 0 = not known exactly
	count int64
	depth int
	pcs   [1024]uintptr
}

var sites = map[string]*site{}

func newSite(name string, size int) *site {
	s := &site{name: name, size: size}
	sites[name] = s
	return s
}

// mark is called by an allocating expression, in its own line, and returns `value` for it: so the stack above mark is
// the stack of the allocation, line by line. It allocates nothing.
//
//go:noinline
func mark(s *site, value int) int {
	if atomic.AddInt64(&s.count, 1) == 1 {
		s.depth = runtime.Callers(2, s.pcs[:])
	}
	return value
}

type frame struct {
	Function string `json:"function"`
	File     string `json:"file"`
	Line     int    `json:"line"`
}

type siteReport struct {
	Name   string  `json:"name"`
	Size   int     `json:"size"`
	Count  int64   `json:"count"`
	Frames []frame `json:"frames"` // innermost first, from runtime.CallersFrames
}

func describeSites() (string, error) {
	reports := []siteReport{}
	for _, s := range sites {
		if s.count == 0 {
			continue
		}
		report := siteReport{Name: s.name, Size: s.size, Count: s.count}
		frames := runtime.CallersFrames(s.pcs[:s.depth])
		for {
			f, more := frames.Next()
			report.Frames = append(report.Frames, frame{f.Function, f.File, f.Line})
			if !more {
				break
			}
		}
		reports = append(reports, report)
	}
	text, err := json.Marshal(reports)
	return string(text), err
}

//go:build !noprofile

package main

import (
	"os"
	"runtime/pprof"
)

func writeProfile(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pprof.Lookup("heap").WriteTo(file, 0); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

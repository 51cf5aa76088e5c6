//go:build !cgo

package main

func workInC() {}

package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// As much of a pprof file as is needed to print the stacks of its samples.
// https://github.com/google/pprof/blob/main/proto/profile.proto

var errProto = errors.New("broken pprof file")

// fields calls visit for each field of a message: value of a varint field, content of a length-delimited one.
func fields(message []byte, visit func(number int, value uint64, content []byte) error) error {
	for len(message) > 0 {
		key, n := binary.Uvarint(message)
		if n <= 0 {
			return errProto
		}
		message = message[n:]
		value, n := binary.Uvarint(message)
		if n <= 0 {
			return errProto
		}
		message = message[n:]
		var content []byte
		switch key & 7 {
		case 0:
		case 2:
			if value > uint64(len(message)) {
				return errProto
			}
			content, message = message[:value], message[value:]
		default:
			return errProto
		}
		if err := visit(int(key>>3), value, content); err != nil {
			return err
		}
	}
	return nil
}

type protoFunction struct{ name, file, start uint64 }
type protoLine struct{ function, line uint64 }
type protoLocation struct {
	address uint64
	lines   []protoLine
}

func (p *printer) protoSamples(compressed []byte) error {
	reader, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return err
	}
	profile, err := io.ReadAll(reader)
	if err != nil {
		return err
	}
	functions := map[uint64]protoFunction{}
	locations := map[uint64]protoLocation{}
	var samples [][]uint64
	var table []string
	err = fields(profile, func(number int, _ uint64, content []byte) error {
		switch number {
		case 2: // sample
			var stack []uint64
			err := fields(content, func(number int, value uint64, packed []byte) error {
				if number != 1 {
					return nil
				}
				if packed == nil {
					stack = append(stack, value)
				}
				for len(packed) > 0 {
					id, n := binary.Uvarint(packed)
					if n <= 0 {
						return errProto
					}
					stack, packed = append(stack, id), packed[n:]
				}
				return nil
			})
			samples = append(samples, stack)
			return err
		case 4: // location
			var id uint64
			var location protoLocation
			err := fields(content, func(number int, value uint64, content []byte) error {
				switch number {
				case 1:
					id = value
				case 3:
					location.address = value
				case 4:
					var line protoLine
					err := fields(content, func(number int, value uint64, _ []byte) error {
						switch number {
						case 1:
							line.function = value
						case 2:
							line.line = value
						}
						return nil
					})
					location.lines = append(location.lines, line)
					return err
				}
				return nil
			})
			locations[id] = location
			return err
		case 5: // function
			var id uint64
			var function protoFunction
			err := fields(content, func(number int, value uint64, _ []byte) error {
				switch number {
				case 1:
					id = value
				case 2:
					function.name = value
				case 4:
					function.file = value
				case 5:
					function.start = value
				}
				return nil
			})
			functions[id] = function
			return err
		case 6: // string table
			table = append(table, string(content))
		}
		return nil
	})
	if err != nil {
		return err
	}
	text := func(index uint64) (string, error) {
		if index >= uint64(len(table)) {
			return "", errProto
		}
		return table[index], nil
	}
	for _, stack := range samples {
		line := "L"
		for _, id := range stack {
			location := locations[id]
			line += fmt.Sprintf(" %x:", location.address)
			for _, l := range location.lines {
				function := functions[l.function]
				name, err := text(function.name)
				if err != nil {
					return err
				}
				file, err := text(function.file)
				if err != nil {
					return err
				}
				line += fmt.Sprintf("%d,%d,%d,%d;", p.id(name), p.id(file), l.line, function.start)
			}
		}
		fmt.Fprintln(p.out, line)
	}
	return nil
}

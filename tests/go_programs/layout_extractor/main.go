// Layout extractor: prints where the Go runtime inside a binary keeps the fields that goheapd reads.
//
//	layout_extractor [-source GOROOT/src] BINARY
//
// The offsets come from the binary's DWARF, the line of each declaration from Go's source when -source is given:
//
//	mspan 160 0 runtime/mheap.go#L402
//	mspan.nelems 50 2 runtime/mheap.go#L441
//	const KindSpecialProfile 3 0 runtime/mheap.go#L1828
//	(name; offset of the field, size of the struct or value of the constant; size of the field; place)
//
// Run it on any binary that a new Go release built (itself, for example): the lines that differ from the
// table in daemon/gobin/runtime_layout_*.cpp are what that release changed.
package main

import (
	"debug/dwarf"
	"debug/elf"
	"flag"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// A struct by the name that goheapd's table gives it and the names that releases give it in DWARF; the first that
// is found counts. "var runtime.work" is the type of that variable (the struct had no name of its own in 1.19).
type wanted struct {
	table string
	names []string
}

var structs = []wanted{
	{"bucket", []string{"runtime.bucket"}},
	{"memRecord", []string{"runtime.memRecord"}},
	{"memRecordCycle", []string{"runtime.memRecordCycle"}},
	{"special", []string{"runtime.special"}},
	{"specialprofile", []string{"runtime.specialprofile"}},
	{"mspan", []string{"runtime.mspan"}},
	{"mheap", []string{"runtime.mheap"}},
	{"heapArena", []string{"runtime.heapArena"}},
	{"mcache", []string{"runtime.mcache"}},
	{"p", []string{"runtime.p"}},
	{"schedt", []string{"runtime.schedt"}},
	{"gList", []string{"runtime.gList"}},
	{"fixalloc", []string{"runtime.fixalloc"}},
	{"m", []string{"runtime.m"}},
	{"g", []string{"runtime.g"}},
	{"gobuf", []string{"runtime.gobuf"}},
	{"mstats", []string{"runtime.mstats"}},
	{"consistentHeapStats", []string{"runtime.consistentHeapStats"}},
	{"heapStatsDelta", []string{"runtime.heapStatsDelta"}},
	{"gcControllerState", []string{"runtime.gcControllerState"}},
	{"work", []string{"var runtime.work"}},
	{"sweepdata", []string{"runtime.sweepdata"}},
	{"moduledata", []string{"runtime.moduledata"}},
	{"func", []string{"runtime._func"}},
	{"inlinedCall", []string{"runtime.inlinedCall"}},
	{"textsect", []string{"runtime.textsect"}},
	{"type", []string{"internal/abi.Type", "runtime._type"}},
	{"uncommontype", []string{"internal/abi.UncommonType", "runtime.uncommontype"}},
	{"hmap", []string{"runtime.hmap"}}, // gone with the Swiss maps of 1.24
	{"spanInlineMarkBits", []string{"runtime.spanInlineMarkBits"}},
	{"maptype", []string{"internal/abi.SwissMapType", "internal/abi.OldMapType", "internal/abi.MapType",
		"runtime.maptype"}},
}

// Constants, printed as "const NAME VALUE 0 PLACE".
var constants = []wanted{
	{"KindSpecialFinalizer", []string{"runtime._KindSpecialFinalizer"}},
	{"KindSpecialProfile", []string{"runtime._KindSpecialProfile"}},
	{"FuncIDWrapper", []string{"internal/abi.FuncIDWrapper", "runtime.funcID_wrapper"}},
	{"FuncID_gopanic", []string{"internal/abi.FuncID_gopanic", "runtime.funcID_gopanic"}},
	{"FuncID_sigpanic", []string{"internal/abi.FuncID_sigpanic", "runtime.funcID_sigpanic"}},
	{"FuncID_panicwrap", []string{"internal/abi.FuncID_panicwrap", "runtime.funcID_panicwrap"}},
	{"mallocHeaderSize", []string{"runtime.mallocHeaderSize", "internal/runtime/gc.MallocHeaderSize"}},
	{"minSizeForMallocHeader", []string{"runtime.minSizeForMallocHeader", "internal/runtime/gc.MinSizeForMallocHeader"}},
	{"maxSmallSize", []string{"runtime.maxSmallSize"}},
	{"arenaBaseOffset", []string{"runtime.arenaBaseOffset"}},
	{"heapArenaBytes", []string{"runtime.heapArenaBytes"}},
	{"pageSize", []string{"runtime.pageSize"}},
	{"mSpanInUse", []string{"runtime.mSpanInUse"}},
	{"maxTinySize", []string{"runtime.maxTinySize"}},
	{"maxProfStackDepth", []string{"runtime.maxProfStackDepth"}}, // since 1.23, before it was:
	{"maxStack", []string{"runtime.maxStack"}},
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "layout_extractor:", err)
	os.Exit(1)
}

// search finds the wanted structs and constants by their DWARF names.
func search(data *dwarf.Data) (map[string]*dwarf.StructType, map[string]int64, error) {
	found := map[string]*dwarf.StructType{}
	values := map[string]int64{}
	names := map[string]bool{}
	for _, w := range append(append([]wanted{}, structs...), constants...) {
		for _, n := range w.names {
			names[n] = true
		}
	}
	reader := data.Reader()
	for {
		entry, err := reader.Next()
		if err != nil {
			return nil, nil, err
		}
		if entry == nil {
			return found, values, nil
		}
		name, _ := entry.Val(dwarf.AttrName).(string)
		offset := entry.Offset
		switch entry.Tag {
		case dwarf.TagConstant:
			if value, ok := entry.Val(dwarf.AttrConstValue).(int64); ok && names[name] {
				values[name] = value
			}
			continue
		case dwarf.TagStructType:
		case dwarf.TagVariable:
			name = "var " + name
			t, ok := entry.Val(dwarf.AttrType).(dwarf.Offset)
			if !ok {
				continue
			}
			offset = t
		case dwarf.TagSubprogram:
			reader.SkipChildren()
			continue
		default:
			continue
		}
		if !names[name] || found[name] != nil {
			continue
		}
		t, err := data.Type(offset)
		if err != nil {
			return nil, nil, err
		}
		for {
			typedef, ok := t.(*dwarf.TypedefType)
			if !ok {
				break
			}
			t = typedef.Type
		}
		if s, ok := t.(*dwarf.StructType); ok {
			found[name] = s
		}
	}
}

// places maps "runtime.mspan" and "runtime.mspan.nelems" to "runtime/mheap.go#L441" for one package directory.
func places(source, pkg string, into map[string]string) error {
	files, err := filepath.Glob(filepath.Join(source, pkg, "*.go"))
	if err != nil {
		return err
	}
	context := build.Default
	context.GOOS, context.GOARCH = "linux", "amd64"
	// Default in 1.22 and gone as an experiment since: newer toolchains do not set its tag.
	context.ToolTags = append(context.ToolTags, "goexperiment.allocheaders")
	for _, path := range files {
		built, err := context.MatchFile(filepath.Split(path))
		if err != nil {
			return err
		}
		if !built || strings.HasSuffix(path, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		place := func(pos token.Pos) string {
			return fmt.Sprintf("%s/%s#L%d", pkg, filepath.Base(path), set.Position(pos).Line)
		}
		var record func(name string, at token.Pos, expr ast.Expr)
		record = func(name string, at token.Pos, expr ast.Expr) {
			s, ok := expr.(*ast.StructType)
			if !ok {
				return
			}
			into[name] = place(at)
			for _, field := range s.Fields.List {
				for _, id := range field.Names {
					into[name+"."+id.Name] = place(id.Pos())
					record(name+"."+id.Name, id.Pos(), field.Type) // a struct without a name of its own
				}
				if len(field.Names) > 0 {
					continue
				}
				switch embedded := field.Type.(type) { // its name is the type's
				case *ast.Ident:
					into[name+"."+embedded.Name] = place(embedded.Pos())
				case *ast.SelectorExpr:
					into[name+"."+embedded.Sel.Name] = place(embedded.Pos())
				}
			}
		}
		ast.Inspect(file, func(node ast.Node) bool {
			switch spec := node.(type) {
			case *ast.FuncDecl:
				return false
			case *ast.TypeSpec:
				record(pkg+"."+spec.Name.Name, spec.Pos(), spec.Type)
			case *ast.ValueSpec:
				for _, id := range spec.Names {
					into[pkg+"."+id.Name] = place(id.Pos())
					record("var "+pkg+"."+id.Name, id.Pos(), spec.Type)
				}
			}
			return true
		})
	}
	return nil
}

func main() {
	source := flag.String("source", "", "GOROOT/src of the release that built the binary, for the places")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: layout_extractor [-source GOROOT/src] BINARY")
		os.Exit(2)
	}
	file, err := elf.Open(flag.Arg(0))
	if err != nil {
		fatal(err)
	}
	data, err := file.DWARF()
	if err != nil {
		fatal(err)
	}
	found, values, err := search(data)
	if err != nil {
		fatal(err)
	}
	where := map[string]string{}
	if *source != "" {
		for _, pkg := range []string{"runtime", "internal/abi", "internal/runtime/gc"} {
			if err := places(*source, pkg, where); err != nil {
				fatal(err)
			}
		}
		// The struct behind the variable work has had a name since 1.21.
		for name, place := range where {
			if rest := strings.TrimPrefix(name, "runtime.workType"); rest != name {
				where["var runtime.work"+rest] = place
			}
		}
	}
	out := []string{}
	emit := func(name, goName string, offset, size int64) {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %d %d %s", name, offset, size, where[goName])))
	}
	for _, w := range structs {
		for _, name := range w.names {
			s := found[name]
			if s == nil {
				continue
			}
			emit(w.table, name, s.ByteSize, 0)
			for _, field := range s.Field {
				emit(w.table+"."+field.Name, name+"."+field.Name, field.ByteOffset, field.Type.Size())
				inner, ok := field.Type.(*dwarf.StructType)
				if !ok || !strings.HasPrefix(inner.StructName, "struct {") {
					continue
				}
				for _, part := range inner.Field {
					path := "." + field.Name + "." + part.Name
					emit(w.table+path, name+path, field.ByteOffset+part.ByteOffset, part.Type.Size())
				}
			}
			break
		}
	}
	for _, w := range constants {
		for _, name := range w.names {
			if value, ok := values[name]; ok {
				emit("const "+w.table, name, value, 0)
				break
			}
		}
	}
	sort.Strings(out)
	for _, line := range out {
		fmt.Println(line)
	}
}

// What the Go linker wrote about itself and the main module (section .go.buildinfo, as `go version -m` shows
// it), and where to look when that section was removed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/gobin/elf_file.h"
#include "daemon/gobin/function_code.h"
#include "daemon/gobin/go_version.h"

namespace goheapd::gobin {

struct ModuleInfo {
  std::string main_package;    // "path"
  std::string module;          // path of "mod", may be empty
  std::string module_version;  // "(devel)", "v1.2.3", may be empty
  std::vector<std::pair<std::string, std::string>>
      settings;  // "build" lines: -ldflags, CGO_ENABLED, GOAMD64...
};

struct BuildInfo {
  GoVersion version;
  ModuleInfo module;
};

// "go1.24.4", "go1.24.4 X:noswissmap", "go1.26.10-X:nogreenteagc", also with a distributor's suffix. Errors:
// not a release of Go 1 (development versions, betas and release candidates have layouts that nobody
// measured).
Expected<GoVersion> parse_go_version(std::string_view text);

// The text that the linker puts between two 16-byte guards into runtime.modinfo; with or without the guards.
ModuleInfo parse_module_info(std::string_view text);

// From .go.buildinfo, or found by its magic where section headers are gone. Errors: none there; a
// version that parse_go_version() refuses. Of a Go before 1.18 the version only.
Expected<BuildInfo> read_build_info(const ElfFile& elf);

// Whether the file has the magic of a build info at all.
bool has_build_info(const ElfFile& elf);

// The same facts without .go.buildinfo, read from the variables behind them: runtime.schedinit looks at
// runtime.buildVersion and runtime.modinfo in every program, so the string headers that its code refers to
// are proof of what the linker was told. Errors: no such string, or more than one version.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/proc.go#L888
Expected<BuildInfo> build_info_from_code(const ElfFile& elf, const FunctionCode& schedinit);

}  // namespace goheapd::gobin

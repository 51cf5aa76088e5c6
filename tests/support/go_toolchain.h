// Go programs for tests: built by every toolchain that tests/tools/fetch-go has put into the cache.
#pragma once

#include <string>
#include <vector>

#include "daemon/base/expected.h"

namespace goheapd::test {

// Minor versions of the toolchains in the cache, ascending. A test that loops over them should assert that there are some.
std::vector<int> go_minors();
// $CACHE/go/usr/lib/go-1.N: what GOROOT is for that toolchain; its sources are in `src`.
std::string go_root(int minor);

struct GoBuild {
  std::string program = {};             // folder of tests/go_programs
  std::string arch = "amd64";           // GOARCH
  std::vector<std::string> flags = {};  // of `go build`, e.g. "-buildmode=pie", "-ldflags=-s -w"
  std::vector<std::string> environment =
      {};              // e.g. "GOEXPERIMENT=arenas", "CGO_ENABLED=1"; cgo is off by default
  bool strip = false;  // run strip(1) over the result
};

// Path of the executable. Built once per content of its sources and settings, then taken from the cache.
Expected<std::string> build_go_program(int minor, const GoBuild& build);

// Standard output of a command line; an error when it does not exit with 0.
Expected<std::string> output_of(const std::string& command);

}  // namespace goheapd::test

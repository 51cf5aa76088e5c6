// Go programs of tests/go_programs, built with a chosen toolchain and run under our control.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/unique_fd.h"

namespace goheapd::testing {

struct GoBuild {
  int minor = 24;
  bool pie = false;
  bool strip = false;
  bool cgo = false;
  // With the profile that the Go compiler itself is built with, which has calls of the allocator inlined.
  bool profile_guided = false;
};
// For test names: "go1_24_pie_strip".
std::string name_of(const GoBuild& build);

// Every toolchain of the cache that tests/tools/fetch-go fills. A test that finds none fails: it does not skip.
std::vector<int> go_minors();
// A plain build of each of them.
std::vector<GoBuild> plain_builds();
// Beside it the newest one's position independent, with cgo, and guided by a profile; of every one where all is wanted
// (GOHEAPD_LONG_TESTS). What differs by build is where the sites are, and those of the whole matrix are tried by tests/e2e.
std::vector<GoBuild> various_builds();

// Builds tests/go_programs/NAME and returns the path of the executable; throws with the compiler's output.
std::string build_go_program(const std::string& name, const GoBuild& build);

// A running program that takes one command per line and answers with one line. Killed at the end.
class GoProgram {
 public:
  // `environment`: "NAME=value" in addition to ours. Returns when the program has said "ready".
  explicit GoProgram(const std::string& path, const std::vector<std::string>& environment = {});
  ~GoProgram();
  GoProgram(const GoProgram&) = delete;
  GoProgram& operator=(const GoProgram&) = delete;

  pid_t pid() const { return pid_; }
  // Throws when the program ends or does not answer within 60 s.
  std::string ask(const std::string& command);
  std::vector<uint64_t> ask_numbers(const std::string& command);
  void tell(const std::string& command);
  std::string hear();
  void kill();

 private:
  pid_t pid_ = -1;
  UniqueFd input_;
  UniqueFd output_;
};

// Distance between the addresses in the process and those in the file; load_base = vaddr of file offset 0.
uint64_t load_bias(pid_t pid, uint64_t load_base);

}  // namespace goheapd::testing

// Runs tests/go_programs/heap_ledger and talks to it.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/support/go_toolchain.h"

namespace goheapd::test {

// One record of runtime.MemProfile.
struct LedgerRecord {
  uint64_t allocs = 0, frees = 0, alloc_bytes = 0, free_bytes = 0;
  std::vector<uint64_t> stack;  // at most 32 deep: that is all that MemProfileRecord holds
};

class LedgerProcess {
 public:
  // Throws what failed as std::runtime_error, as do the commands.
  LedgerProcess(const std::string& executable, uint64_t rate, uint64_t records);
  ~LedgerProcess();
  LedgerProcess(const LedgerProcess&) = delete;
  LedgerProcess& operator=(const LedgerProcess&) = delete;

  pid_t pid() const { return pid_; }
  // Numbers of each line of the answer.
  std::vector<std::vector<uint64_t>> command(const std::string& line);
  std::vector<LedgerRecord> profile();
  std::map<uint64_t, uint64_t> objects();  // site -> address
  void kill();

 private:
  std::string read_line();

  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
  std::string buffered_;
};

// The kinds of executable that the readers are tested on; the first is the plain one.
struct LedgerVariant {
  std::string name;
  std::vector<std::string> flags = {};
  std::vector<std::string> environment = {};
  bool strip = false;
};
const std::vector<LedgerVariant>& ledger_variants();
std::string build_ledger(int minor, const LedgerVariant& variant);

}  // namespace goheapd::test

// The only place where goheapd writes into a process: it sets runtime.MemProfileRate, if its operator asked for that.
#pragma once

#include <cstdint>

#include "daemon/base/expected.h"
#include "daemon/gobin/globals.h"
#include "daemon/process/process_memory.h"

namespace goheapd::runtime {

// What we set it to: the runtime's own default. It differs from 0 in one byte, so that no thread of the target can see
// half of it. https://github.com/golang/go/blob/go1.24.4/src/runtime/mprof.go#L645
inline constexpr uint64_t kSwitchedOnRate = 512 * 1024;

// Is the place of the variable known for sure? Two proofs: two functions whose code names it, or one and the symbol table;
// and nothing that speaks against it. An Error says what is missing.
Expected<void> is_proven_twice(const gobin::GlobalVariable& variable);

// Sets the 8 bytes at `address` from `expected` to `value`. Nothing is written unless they are `expected` now and the
// process is the one that `memory` was opened for. Afterwards they are read again. Errors: another value is there, not a
// place for an int, no permission, the process is gone.
Expected<void> set_sample_rate(const process::ProcessMemory& memory, uint64_t address, uint64_t expected,
                               uint64_t value);

}  // namespace goheapd::runtime

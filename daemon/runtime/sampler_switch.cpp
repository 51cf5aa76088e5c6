#include "daemon/runtime/sampler_switch.h"

#include <sys/uio.h>

#include <cerrno>
#include <string>

namespace goheapd::runtime {

Expected<void> is_proven_twice(const gobin::GlobalVariable& variable) {
  if (!variable.vaddr)
    return fail("its address is not known: " + variable.reason, std::string(variable.name));
  if (variable.dissenting_votes != 0)
    return fail("not all code agrees on its address", std::string(variable.name));
  if (variable.votes + (variable.in_symbol_table ? 1 : 0) < 2) {
    return fail("its address has only one proof", std::string(variable.name));
  }
  return {};
}

Expected<void> set_sample_rate(const process::ProcessMemory& memory, uint64_t address, uint64_t expected,
                               uint64_t value) {
  if (address == 0 || address % sizeof(value) != 0) return fail("MemProfileRate cannot lie there");
  const auto before = memory.read<uint64_t>(address);
  if (!before) return Unexpected(before.error());
  if (*before != expected) {
    return fail("MemProfileRate is " + std::to_string(*before) + ", not " + std::to_string(expected) +
                ": somebody else has set it");
  }
  if (auto same = memory.verify(); !same) return same;
  const iovec local{&value, sizeof(value)};
  const iovec remote{reinterpret_cast<void*>(address), sizeof(value)};
  const ssize_t written = ::process_vm_writev(memory.pid(), &local, 1, &remote, 1, 0);
  if (written != static_cast<ssize_t>(sizeof(value))) {
    return fail("cannot write MemProfileRate", std::to_string(memory.pid()), written < 0 ? errno : 0);
  }
  const auto after = memory.read<uint64_t>(address);
  if (!after) return Unexpected(after.error());
  if (*after != value) return fail("MemProfileRate did not stay as it was written");
  return {};
}

}  // namespace goheapd::runtime

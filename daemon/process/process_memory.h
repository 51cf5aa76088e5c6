// Reads another process's memory with process_vm_readv(2): the target is neither stopped nor changed, and
// what we read may change while we read it.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "daemon/base/expected.h"
#include "daemon/base/unique_fd.h"

namespace goheapd::process {

// One place to read in a batch.
struct MemoryPiece {
  uint64_t address = 0;
  std::span<std::byte> into;
  bool complete = false;  // set by the read: all bytes came; else the contents of `into` are unspecified
};

// Needs CAP_SYS_PTRACE or the same user (ptrace access mode "attach"). A process that has exited, a zombie too,
// gives ESRCH.
class ProcessMemory {
 public:
  // Opens a pidfd beside the pid, so that verify() can tell whether a later process has got the same pid.
  static Expected<ProcessMemory> open(pid_t pid);
  pid_t pid() const { return pid_; }

  // Fills `into`, or fails: EFAULT if any byte is not mapped, ESRCH if the process is gone, EPERM.
  Expected<void> read(uint64_t address, std::span<std::byte> into) const;

  template <typename T>
  Expected<T> read(uint64_t address) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    const auto done = read(address, std::as_writable_bytes(std::span(&value, 1)));
    if (!done) return Unexpected(done.error());
    return value;
  }

  // Reads many pieces with few system calls (1024 pieces per call) and says for each whether it came. A piece
  // that is not mapped spoils only itself. Returns how many are complete; an Error only where no piece can be
  // read at all any more (ESRCH, EPERM).
  Expected<size_t> read(std::span<MemoryPiece> pieces) const;

  // To be asked after reading: all that was read up to now came from the process that open() saw. It does not
  // notice an exec, which gives the same process another memory.
  Expected<void> verify() const;

 private:
  ProcessMemory(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  pid_t pid_;
  UniqueFd pidfd_;
};

}  // namespace goheapd::process

#include "daemon/process/process_memory.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

namespace goheapd::process {
namespace {

constexpr size_t kPiecesPerCall = 1024;  // IOV_MAX; a longer vector is EINVAL

iovec io_vector(const void* base, size_t length) { return iovec{const_cast<void*>(base), length}; }

Unexpected gone(pid_t pid) { return fail("the process has exited", "pid " + std::to_string(pid), ESRCH); }

}  // namespace

Expected<ProcessMemory> ProcessMemory::open(pid_t pid) {
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd && errno == ESRCH) return gone(pid);
  if (!pidfd) return fail("cannot open a pidfd", "pid " + std::to_string(pid), errno);
  return ProcessMemory(pid, std::move(pidfd));
}

Expected<void> ProcessMemory::verify() const {
  // Readable since the process has exited; the pid cannot have been given away before that.
  pollfd entry{pidfd_.get(), POLLIN, 0};
  if (::poll(&entry, 1, 0) > 0) return gone(pid_);
  return {};
}

Expected<void> ProcessMemory::read(uint64_t address, std::span<std::byte> into) const {
  MemoryPiece piece{address, into};
  const auto complete = read(std::span(&piece, 1));
  if (!complete) return Unexpected(complete.error());
  if (!piece.complete) return fail("cannot read process memory", "pid " + std::to_string(pid_), EFAULT);
  return {};
}

Expected<size_t> ProcessMemory::read(std::span<MemoryPiece> pieces) const {
  std::array<iovec, kPiecesPerCall> local;
  std::array<iovec, kPiecesPerCall> remote;
  size_t complete = 0;
  size_t next = 0;
  while (next < pieces.size()) {
    const size_t count = std::min(kPiecesPerCall, pieces.size() - next);
    for (size_t i = 0; i < count; ++i) {
      const MemoryPiece& piece = pieces[next + i];
      local[i] = io_vector(piece.into.data(), piece.into.size());
      remote[i] = io_vector(reinterpret_cast<const void*>(piece.address), piece.into.size());
    }
    ssize_t bytes = ::process_vm_readv(pid_, local.data(), count, remote.data(), count, 0);
    if (bytes < 0) {
      // EFAULT: nothing of the first piece is mapped. EINVAL: the lengths overflow, which only a hostile
      // address can cause. The others (ESRCH, EPERM, ENOMEM) hold for every piece.
      if (errno != EFAULT && errno != EINVAL) {
        return fail("cannot read process memory", "pid " + std::to_string(pid_), errno);
      }
      bytes = 0;
    }
    // The kernel fills the pieces in order and stops at the first byte that is not mapped.
    auto left = static_cast<size_t>(bytes);
    size_t done = 0;
    while (done < count && left >= pieces[next + done].into.size()) {
      left -= pieces[next + done].into.size();
      pieces[next + done].complete = true;
      ++done;
    }
    complete += done;
    if (done < count) {
      pieces[next + done].complete = false;
      ++done;
    }
    next += done;
  }
  return complete;
}

}  // namespace goheapd::process

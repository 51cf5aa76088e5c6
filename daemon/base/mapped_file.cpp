#include "daemon/base/mapped_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <utility>

namespace goheapd {
namespace {

// What the signal handler may look at: no locks, no allocation. A mapping beyond the last slot is not guarded.
struct GuardedRange {
  std::atomic<uintptr_t> start{0};  // 0 = free
  std::atomic<uintptr_t> end{0};
};
std::array<GuardedRange, 1024> guarded_ranges;
std::atomic<uint64_t> vanished{0};
struct sigaction previous_action;
uintptr_t page_bytes = 0;

void guard(const void* data, size_t size) {
  for (GuardedRange& range : guarded_ranges) {
    uintptr_t expected = 0;
    if (!range.start.compare_exchange_strong(expected, reinterpret_cast<uintptr_t>(data))) continue;
    range.end = reinterpret_cast<uintptr_t>(data) + size;
    return;
  }
}

void unguard(const void* data) {
  for (GuardedRange& range : guarded_ranges) {
    if (range.start != reinterpret_cast<uintptr_t>(data)) continue;
    range.end = 0;
    range.start = 0;
    return;
  }
}

// Runs in the thread that touched the page, at the instruction that did; returning repeats it.
void on_bus_error(int, siginfo_t* info, void*) {
  const int saved_errno = errno;
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (const GuardedRange& range : guarded_ranges) {
    if (info->si_code <= 0) break;  // sent by a process, not by a fault
    const uintptr_t start = range.start;
    if (start == 0 || address < start || address >= range.end) continue;
    void* page = reinterpret_cast<void*>(address & ~(page_bytes - 1));
    if (::mmap(page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
      break;
    ++vanished;
    errno = saved_errno;
    return;
  }
  ::sigaction(SIGBUS, &previous_action, nullptr);
}

void install_guard() {
  page_bytes = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigaction(SIGBUS, &action, &previous_action);
}

}  // namespace

Expected<MappedFile> MappedFile::open(const std::string& path) {
  const auto file = OpenFile::open(path);
  if (!file) return Unexpected(file.error());
  return map(**file);
}

Expected<MappedFile> MappedFile::map(const OpenFile& file) {
  const auto now = file.identity_now();
  if (!now) return Unexpected(now.error());
  MappedFile mapped;
  if (now->size == 0) return mapped;
  const auto size = static_cast<size_t>(now->size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd(), 0);
  if (data == MAP_FAILED) return fail("cannot map file", file.name(), errno);
  mapped.data_ = data;
  mapped.size_ = size;
  static std::once_flag once;
  std::call_once(once, install_guard);
  guard(mapped.data_, mapped.size_);
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  unguard(data_);
  ::munmap(const_cast<void*>(data_), size_);
}

uint64_t MappedFile::vanished_pages() { return vanished; }

void MappedFile::release_pages() const {
  if (data_ != nullptr) ::madvise(const_cast<void*>(data_), size_, MADV_DONTNEED);
}

}  // namespace goheapd

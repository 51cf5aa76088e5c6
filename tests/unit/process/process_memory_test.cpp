#include "daemon/process/process_memory.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <numeric>
#include <vector>

namespace goheapd::process {
namespace {

constexpr size_t kPage = 4096;

// Pages of our own; the last one cannot be read.
class Pages {
 public:
  explicit Pages(size_t readable) : size_((readable + 1) * kPage) {
    base_ = static_cast<std::byte*>(
        ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (size_t i = 0; i < readable * kPage; ++i) base_[i] = static_cast<std::byte>(i * 7 + i / kPage);
    ::mprotect(base_ + readable * kPage, kPage, PROT_NONE);
  }
  ~Pages() { ::munmap(base_, size_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  uint64_t address(size_t offset) const { return reinterpret_cast<uint64_t>(base_) + offset; }
  std::byte at(size_t offset) const { return base_[offset]; }
  size_t readable() const { return size_ - kPage; }

 private:
  size_t size_;
  std::byte* base_;
};

TEST(ProcessMemory, ReadsOurselves) {
  const uint64_t secret = 0x1122334455667788;
  const ProcessMemory memory = *ProcessMemory::open(::getpid());
  EXPECT_EQ(memory.read<uint64_t>(reinterpret_cast<uint64_t>(&secret)).value_or(0), secret);
}

TEST(ProcessMemory, ReadsAcrossPages) {
  const Pages pages(3);
  const ProcessMemory memory = *ProcessMemory::open(::getpid());
  std::vector<std::byte> buffer(2 * kPage);
  ASSERT_TRUE(memory.read(pages.address(100), buffer));
  for (size_t i = 0; i < buffer.size(); ++i) ASSERT_EQ(buffer[i], pages.at(100 + i)) << i;
}

TEST(ProcessMemory, PartlyMappedIsAFault) {
  const Pages pages(1);
  const ProcessMemory memory = *ProcessMemory::open(::getpid());
  std::array<std::byte, 16> buffer{};
  EXPECT_TRUE(memory.read(pages.address(kPage - 16), buffer));
  const auto half = memory.read(pages.address(kPage - 8), buffer);
  ASSERT_FALSE(half);
  EXPECT_EQ(half.error().errno_value, EFAULT);
}

TEST(ProcessMemory, HostileAddressesAreFaults) {
  const ProcessMemory memory = *ProcessMemory::open(::getpid());
  for (const uint64_t address :
       {0ull, 1ull, ~0ull, ~0ull - 6, 1ull << 63, 0x7ffffffffffcull, 0xffff800000000000ull}) {
    const auto value = memory.read<uint64_t>(address);
    ASSERT_FALSE(value) << address;
    EXPECT_EQ(value.error().errno_value, EFAULT) << address;
  }
}

// Every piece is told apart, and those behind a hole still come: 3000 pieces need three calls even without holes.
TEST(ProcessMemory, BatchSaysForEachPieceWhetherItCame) {
  const Pages pages(4);
  const ProcessMemory memory = *ProcessMemory::open(::getpid());
  constexpr size_t kPieces = 3000;
  std::vector<std::byte> buffer(kPieces * 8);
  std::vector<MemoryPiece> pieces(kPieces);
  const auto is_hole = [](size_t i) { return i % 100 == 0 || i == 1023 || i == 1024 || i == kPieces - 1; };
  const auto offset_of = [&](size_t i) { return i * 5 % (pages.readable() - 8); };
  size_t holes = 0;
  for (size_t i = 0; i < kPieces; ++i) {
    // A hole: not at all mapped, or only its first half.
    const size_t offset = is_hole(i) ? pages.readable() - (i % 200 == 0 ? 0 : 4) : offset_of(i);
    pieces[i] = {pages.address(offset), std::span(buffer).subspan(i * 8, 8), i % 3 == 0};
    holes += is_hole(i) ? 1 : 0;
  }
  const auto complete = memory.read(pieces);
  ASSERT_TRUE(complete);
  EXPECT_EQ(*complete, kPieces - holes);
  for (size_t i = 0; i < kPieces; ++i) {
    ASSERT_EQ(pieces[i].complete, !is_hole(i)) << i;
    if (is_hole(i)) continue;
    for (size_t byte = 0; byte < 8; ++byte)
      ASSERT_EQ(pieces[i].into[byte], pages.at(offset_of(i) + byte)) << i;
  }
}

TEST(ProcessMemory, EmptyBatchAndEmptyPieces) {
  const ProcessMemory memory = *ProcessMemory::open(::getpid());
  EXPECT_EQ(memory.read(std::span<MemoryPiece>()).value_or(7), 0u);
  std::array<MemoryPiece, 2> pieces{};
  EXPECT_EQ(memory.read(pieces).value_or(7), 2u);
}

TEST(ProcessMemory, ReadsAChildAndNoticesItsEnd) {
  static volatile int value = 1;
  std::array<int, 2> ready{};
  ASSERT_EQ(::pipe(ready.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    value = 42;
    (void)!::write(ready[1], "x", 1);
    for (;;) ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const ProcessMemory memory = *ProcessMemory::open(child);
  EXPECT_EQ(memory.read<int>(reinterpret_cast<uint64_t>(&value)).value_or(0), 42);
  EXPECT_TRUE(memory.verify());

  ::kill(child, SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);  // a zombie now
  EXPECT_EQ(memory.read<int>(reinterpret_cast<uint64_t>(&value)).error().errno_value, ESRCH);
  EXPECT_EQ(memory.verify().error().errno_value, ESRCH);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(memory.verify().error().errno_value, ESRCH);
  EXPECT_EQ(ProcessMemory::open(child).error().errno_value, ESRCH);
  EXPECT_EQ(memory.read<int>(reinterpret_cast<uint64_t>(&value)).error().errno_value, ESRCH);
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace goheapd::process

#include "daemon/runtime/page_window.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

#include "tests/unit/runtime/fake_runtime.h"

namespace goheapd::runtime {
namespace {

constexpr uint64_t kPage = PageWindow::kPageBytes;

class PageWindowTest : public testing::Test {
 protected:
  PageWindowTest() {
    for (uint64_t address = pages_.begin(); address < pages_.end(); address += 8)
      FakeRuntime::write(address, address);
  }
  // Every word of ours holds its own address.
  void expect_words(uint64_t address, uint64_t size) {
    const auto view = window_.view(address, size);
    ASSERT_TRUE(view) << to_string(view.error());
    ASSERT_EQ(view->size(), size);
    for (uint64_t offset = 0; offset < size; offset += 8) {
      ASSERT_EQ(view->read<uint64_t>(offset).value(), address + offset);
    }
  }

  GuardedMemory pages_{40 * kPage};
  process::ProcessMemory memory_ = *process::ProcessMemory::open(::getpid());
  PageWindow window_{memory_};
};

TEST_F(PageWindowTest, WalksDownwards) {
  for (uint64_t address = pages_.end() - 400; address >= pages_.begin(); address -= 400)
    expect_words(address, 400);
}

TEST_F(PageWindowTest, WalksUpwardsAndJumps) {
  for (uint64_t address = pages_.begin(); address + 400 <= pages_.end(); address += 400)
    expect_words(address, 400);
  expect_words(pages_.begin(), 8);
  expect_words(pages_.end() - 8, 8);
  expect_words(pages_.begin() + 20 * kPage - 8, 16);
}

TEST_F(PageWindowTest, LongestViewAtAnyAlignment) {
  for (const uint64_t shift : {uint64_t{0}, uint64_t{8}, kPage - 8}) {
    expect_words(pages_.begin() + shift, PageWindow::kMaxView);
  }
  EXPECT_FALSE(window_.view(pages_.begin(), PageWindow::kMaxView + 1));
}

TEST_F(PageWindowTest, AHoleBelowDoesNotHideWhatIsAbove) {
  pages_.hide(pages_.begin() + 5 * kPage);
  expect_words(pages_.begin() + 6 * kPage, 64);
  EXPECT_EQ(window_.view(pages_.begin() + 6 * kPage - 8, 16).error().errno_value, EFAULT);
  EXPECT_FALSE(window_.view(pages_.begin() + 5 * kPage + 8, 16));
  expect_words(pages_.begin() + 5 * kPage - 16, 16);  // and what is below it is there, too
}

TEST_F(PageWindowTest, HostileRangesAreFaults) {
  EXPECT_TRUE(window_.view(12345, 0));
  EXPECT_FALSE(window_.view(0, 8));
  EXPECT_FALSE(window_.view(pages_.end(), 8));
  EXPECT_FALSE(window_.view(pages_.end() - 4, 8));
  EXPECT_FALSE(window_.view(UINT64_MAX, 1));
  EXPECT_FALSE(window_.view(UINT64_MAX - 8, 64));
  EXPECT_FALSE(window_.view(pages_.begin(), UINT64_MAX));
}

}  // namespace
}  // namespace goheapd::runtime

#include "daemon/probe/breakpoint.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace goheapd::probe {
namespace {

using gobin::Arch;
using Found = std::array<uint8_t, kBreakpointBytes>;
using Original = std::vector<uint8_t>;

TEST(Breakpoint, OnAmd64IsOneByte) {
  const Original push = {0x55};
  EXPECT_TRUE(is_breakpoint(Arch::amd64, Found{0xcc, 0x48, 0x89, 0xe5}, push));
  EXPECT_FALSE(is_breakpoint(Arch::amd64, Found{0x55, 0x48, 0x89, 0xe5}, push));
  EXPECT_FALSE(is_breakpoint(Arch::amd64, Found{0x55, 0xcc, 0x89, 0xe5}, push));
}

TEST(Breakpoint, ACallOfTheProgramIsNone) {
  const Original call = {0xe8, 0x7b, 0xdd, 0xff, 0xff};
  EXPECT_FALSE(is_breakpoint(Arch::amd64, Found{0xe8, 0x7b, 0xdd, 0xff}, call));
  EXPECT_TRUE(is_breakpoint(Arch::amd64, Found{0xcc, 0x7b, 0xdd, 0xff}, call));
  // Whatever has been written over a push: it was not the kernel.
  EXPECT_FALSE(is_breakpoint(Arch::amd64, Found{0xe8, 0x7b, 0xdd, 0xff}, Original{0x55}));
}

TEST(Breakpoint, ACallOfTheKernelReplacesALongNop) {
  const Original nop5 = {0x0f, 0x1f, 0x44, 0x00, 0x00};
  EXPECT_TRUE(is_breakpoint(Arch::amd64, Found{0xe8, 0x7b, 0xdd, 0xff}, nop5));
  EXPECT_TRUE(is_breakpoint(Arch::amd64, Found{0xcc, 0x1f, 0x44, 0x00}, nop5));
  EXPECT_FALSE(is_breakpoint(Arch::amd64, Found{0x0f, 0x1f, 0x44, 0x00}, nop5));
  EXPECT_FALSE(is_breakpoint(Arch::amd64, Found{0xe8, 0x7b, 0xdd, 0xff}, Original{0x0f, 0x1f, 0x00}));
}

TEST(Breakpoint, WhereTheFileHasOneNothingIsProven) {
  EXPECT_FALSE(is_breakpoint(Arch::amd64, Found{0xcc, 0xcc, 0xcc, 0xcc}, Original{0xcc}));
  EXPECT_FALSE(is_breakpoint(Arch::amd64, Found{0xcc, 0xcc, 0xcc, 0xcc}, Original{}));
  const Original brk = {0x00, 0x00, 0x20, 0xd4};
  EXPECT_FALSE(is_breakpoint(Arch::arm64, Found{0xa0, 0x00, 0x20, 0xd4}, brk));
}

TEST(Breakpoint, OnArm64IsABrkWithAnyNumber) {
  const Original less_or_same = {0x89, 0x05, 0x00, 0x54};      // b.ls
  constexpr Found kUprobe = {0xa0, 0x00, 0x20, 0xd4};          // brk #5
  constexpr Found kOtherNumber = {0x00, 0x7d, 0x20, 0xd4};     // brk #0x3e8
  constexpr Found kSupervisorCall = {0x01, 0x00, 0x00, 0xd4};  // svc #0
  constexpr Found kNoBrkInLowBits = {0xa1, 0x00, 0x20, 0xd4};  // not allocated
  constexpr Found kBrkOfAmd64 = {0xcc, 0x05, 0x00, 0x54};
  EXPECT_TRUE(is_breakpoint(Arch::arm64, kUprobe, less_or_same));
  EXPECT_TRUE(is_breakpoint(Arch::arm64, kOtherNumber, less_or_same));
  EXPECT_FALSE(is_breakpoint(Arch::arm64, kSupervisorCall, less_or_same));
  EXPECT_FALSE(is_breakpoint(Arch::arm64, kNoBrkInLowBits, less_or_same));
  EXPECT_FALSE(is_breakpoint(Arch::arm64, kBrkOfAmd64, less_or_same));
  EXPECT_FALSE(is_breakpoint(Arch::arm64, Found{0x89, 0x05, 0x00, 0x54}, less_or_same));
}

}  // namespace
}  // namespace goheapd::probe

#include "daemon/runtime/sampler_switch.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace goheapd::runtime {
namespace {

gobin::GlobalVariable variable(unsigned votes, unsigned dissent, bool symbol) {
  gobin::GlobalVariable result;
  result.name = "runtime.MemProfileRate";
  result.vaddr = 0x1000;
  result.votes = votes;
  result.dissenting_votes = dissent;
  result.in_symbol_table = symbol;
  return result;
}

TEST(ProvenTwice, TwoFunctionsOrOneAndTheSymbolTable) {
  EXPECT_TRUE(is_proven_twice(variable(2, 0, false)));
  EXPECT_TRUE(is_proven_twice(variable(1, 0, true)));
  EXPECT_FALSE(is_proven_twice(variable(1, 0, false)));
  EXPECT_FALSE(is_proven_twice(variable(0, 0, true)));
  EXPECT_FALSE(is_proven_twice(variable(2, 1, true)));
  auto unknown = variable(2, 0, true);
  unknown.vaddr.reset();
  EXPECT_FALSE(is_proven_twice(unknown));
}

class SetSampleRate : public ::testing::Test {
 protected:
  process::ProcessMemory memory_ = *process::ProcessMemory::open(::getpid());
  alignas(8) volatile uint64_t values_[3] = {7, 0, 9};
  uint64_t address_ = reinterpret_cast<uint64_t>(&values_[1]);
};

TEST_F(SetSampleRate, WritesEightBytesAndBack) {
  ASSERT_TRUE(set_sample_rate(memory_, address_, 0, kSwitchedOnRate));
  EXPECT_EQ(values_[1], 524288u);
  ASSERT_TRUE(set_sample_rate(memory_, address_, kSwitchedOnRate, 0));
  EXPECT_EQ(values_[1], 0u);
  EXPECT_EQ(values_[0], 7u);
  EXPECT_EQ(values_[2], 9u);
}

TEST_F(SetSampleRate, LeavesAloneWhatItDidNotExpect) {
  values_[1] = 4096;
  const auto refused = set_sample_rate(memory_, address_, 0, kSwitchedOnRate);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("4096"), std::string::npos);
  EXPECT_EQ(values_[1], 4096u);
}

TEST_F(SetSampleRate, RefusesPlacesThatCannotBe) {
  EXPECT_FALSE(set_sample_rate(memory_, 0, 0, kSwitchedOnRate));
  EXPECT_FALSE(set_sample_rate(memory_, address_ + 1, 0, kSwitchedOnRate));
  EXPECT_FALSE(set_sample_rate(memory_, 0x10, 0, kSwitchedOnRate));
}

}  // namespace
}  // namespace goheapd::runtime

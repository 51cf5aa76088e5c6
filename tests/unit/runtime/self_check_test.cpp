#include "daemon/runtime/self_check.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/runtime/fake_runtime.h"

namespace goheapd::runtime {
namespace {

class SelfCheckTest : public testing::TestWithParam<int> {
 protected:
  SelfCheckTest() {
    fake_.set_cycles(12);
    for (uint64_t page = 0; page < 10; ++page) spans_.push_back(fake_.add_span(page, 1, 64));
    bucket_ = fake_.add_bucket({0x401000, 0x402000}, 48);
    fake_.add_bucket({0x401000, 0x403000}, 5 * 8192);
  }
  std::string refusal() const {
    const auto passed = runtime_self_check(view_);
    return passed ? "" : to_string(passed.error());
  }

  FakeRuntime fake_{GetParam()};
  RuntimeView view_ = fake_.view();
  std::vector<uint64_t> spans_;
  uint64_t bucket_ = 0;
};

TEST_P(SelfCheckTest, ASaneRuntimePasses) {
  EXPECT_EQ(refusal(), "");
  fake_.set_cycles(0);
  fake_.set_rate(0);
  EXPECT_EQ(refusal(), "");
}

TEST_P(SelfCheckTest, SpansThatAreFreeDoNotCount) {
  for (size_t i = 0; i + 1 < spans_.size(); ++i)
    FakeRuntime::write_field(spans_[i], fake_.layout().mspan.state, 0);
  EXPECT_EQ(refusal(), "");
  FakeRuntime::write_field(spans_.back(), fake_.layout().mspan.state, 0);
  EXPECT_NE(refusal(), "");
}

TEST_P(SelfCheckTest, UnknownMainThreadIsNotChecked) {
  RuntimeAddresses addresses = fake_.addresses();
  addresses.m0 = 0;
  EXPECT_TRUE(runtime_self_check(fake_.view(addresses)));
}

TEST_P(SelfCheckTest, EveryDeviationIsRefused) {
  const auto& layout = fake_.layout();
  const auto& addresses = fake_.addresses();
  const auto field = [](uint64_t base, gobin::Field member) { return base + member.offset; };
  const uint64_t goroutine = FakeRuntime::read(FakeRuntime::read(addresses.allgptr));
  const uint64_t scheduler_goroutine = FakeRuntime::read(field(addresses.m0, layout.m.g0));
  const uint64_t first_p = FakeRuntime::read(FakeRuntime::read(addresses.allp));
  struct Deviation {
    uint64_t address;
    uint64_t value;
  };
  for (const auto& [address, value] : {
           Deviation{field(addresses.mheap, layout.mheap.sweepgen), 25},
           Deviation{field(addresses.mheap, layout.mheap.sweepgen), 26},
           Deviation{field(addresses.memstats, layout.mstats.numgc), 13},
           Deviation{field(addresses.mheap, layout.mheap.allspans), 0},
           Deviation{field(addresses.mheap, layout.mheap.allspans), 8},
           Deviation{field(addresses.mheap, layout.mheap.allspans) + 8, 0},
           Deviation{field(addresses.mheap, layout.mheap.arenas), 8},
           Deviation{field(spans_[0], layout.mspan.start_addr), 1},
           Deviation{field(addresses.m0, layout.m.g0), 8},
           Deviation{field(scheduler_goroutine, layout.g.m), 8},
           Deviation{addresses.allgptr, 0},
           Deviation{addresses.allglen, 0},
           Deviation{field(goroutine, layout.g.goid), 17},
           Deviation{addresses.allp, 0},
           Deviation{field(first_p, layout.p.id), 1},
           Deviation{addresses.mem_profile_rate, uint64_t{1} << 63},
           Deviation{addresses.mem_profile_rate, uint64_t{1} << 41},
           Deviation{addresses.mbuckets, 8},
           Deviation{addresses.mbuckets, goroutine},
           Deviation{field(bucket_, layout.bucket.size), 49},
           Deviation{field(bucket_, layout.bucket.size), 64},
           Deviation{field(bucket_, layout.bucket.nstk), 1},
           Deviation{bucket_ + layout.bucket.sizeof_struct, 0x401001},
       }) {
    const uint64_t right = FakeRuntime::read(address);
    FakeRuntime::write(address, value);
    EXPECT_NE(refusal(), "") << std::hex << address << " = " << value;
    FakeRuntime::write(address, right);
    EXPECT_EQ(refusal(), "");
  }
}

TEST_P(SelfCheckTest, ANegativeRateSwitchesTheSamplerOff) {
  FakeRuntime::write<int64_t>(fake_.addresses().mem_profile_rate, -1);
  EXPECT_EQ(refusal(), "");
}

INSTANTIATE_TEST_SUITE_P(Go, SelfCheckTest, testing::Values(19, 23, 25, 27));

}  // namespace
}  // namespace goheapd::runtime

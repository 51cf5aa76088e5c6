// Rules of the symbolizer on binaries made for them; symbolizer_toolchain_test.cpp compares it with real programs.
#include "daemon/gobin/symbolizer.h"

#include <gtest/gtest.h>

#include <thread>

#include "daemon/gobin/go_binary.h"
#include "tests/unit/gobin/synthetic_binary.h"

namespace goheapd::gobin {
namespace {

using test::SyntheticBinary;
using test::view_of;

// Functions of SyntheticBinary::ordinary()
enum : size_t { kStart, kMain, kGoexit, kRuntimeMain, kMallocgc, kSchedinit, kSigpanic, kNewTable, kWrapped };

uint64_t at(size_t function, uint64_t delta) { return SyntheticBinary::entry(function) + delta; }

class SymbolizerTest : public testing::Test {
 protected:
  const Symbolizer& open(const SyntheticBinary& binary) {
    bytes_ = binary.build();
    auto opened = GoBinary::recognize(view_of(bytes_));
    EXPECT_TRUE(opened) << opened.error().what;
    binary_ = *opened;
    return binary_->symbolizer();
  }
  static std::string text(const std::vector<CodeLocation>& locations) {
    std::string out;
    for (const auto& location : locations) {
      out += out.empty() ? "" : " | ";
      for (const auto& frame : location.frames) {
        out += &frame == location.frames.data() ? "" : " < ";
        out += std::string(frame.function) + ":" + std::to_string(frame.line);
      }
    }
    return out;
  }
  std::vector<std::byte> bytes_;
  std::shared_ptr<const GoBinary> binary_;
};

TEST_F(SymbolizerTest, ExpandsInlinedFramesOfAReturnAddress) {
  const Symbolizer& symbolizer = open(SyntheticBinary::ordinary());
  const auto locations =
      symbolizer.locations_of_return_addresses(std::vector{at(kMain, 0x14), at(kRuntimeMain, 8)});
  ASSERT_EQ(locations.size(), 2u);
  EXPECT_EQ(text(locations), "main.leaf[go.shape.int]:31 < main.middle:22 < main.main:10 | runtime.main:1");
  EXPECT_EQ(locations[0].address, at(kMain, 0x13));
  EXPECT_EQ(locations[0].entry, at(kMain, 0));
  EXPECT_EQ(locations[0].frames[0].file, "/src/main.go");
  EXPECT_EQ(locations[0].frames[0].start_line, 30);
  EXPECT_EQ(locations[0].frames[2].start_line, 9);
}

TEST_F(SymbolizerTest, LeafPcIsNotDecremented) {
  const Symbolizer& symbolizer = open(SyntheticBinary::ordinary());
  // 0x10 is the first byte of the inlined code; as a return address it belongs to what is before it.
  EXPECT_EQ(text(symbolizer.locations_of_return_addresses(std::vector{at(kMain, 0x10)}, true)),
            "main.leaf[go.shape.int]:31 < main.middle:22 < main.main:10");
  EXPECT_EQ(text(symbolizer.locations_of_return_addresses(std::vector{at(kMain, 0x10)})), "main.main:10");
  EXPECT_EQ(text(symbolizer.locations_of_return_addresses(std::vector{at(kMain, 0)}, true)), "main.main:10");
}

TEST_F(SymbolizerTest, FrameThatTrappedIsNotDecremented) {
  const Symbolizer& symbolizer = open(SyntheticBinary::ordinary());
  const std::vector<uint64_t> stack = {at(kSigpanic, 4), at(kMain, 0x30), at(kRuntimeMain, 8)};
  EXPECT_EQ(text(symbolizer.locations_of_return_addresses(stack, false, RuntimeFrames::keep)),
            "runtime.sigpanic:1 | main.main:13 | runtime.main:1");
}

TEST_F(SymbolizerTest, LogicalStackGivesTheSameLocations) {
  const Symbolizer& symbolizer = open(SyntheticBinary::ordinary());
  const std::vector<uint64_t> machine = {at(kMain, 0x14), at(kRuntimeMain, 8), at(kGoexit, 1)};
  const std::vector<uint64_t> logical = symbolizer.logical_stack(machine);
  EXPECT_EQ(logical, (std::vector{at(kMain, 0x14), at(kMain, 0x22), at(kMain, 0x10), at(kRuntimeMain, 8),
                                  at(kGoexit, 1)}));
  EXPECT_EQ(text(symbolizer.locations_of_logical_stack(logical)),
            text(symbolizer.locations_of_return_addresses(machine)));
  // Cut between inlined frames by the runtime's depth limit: completed.
  EXPECT_EQ(text(symbolizer.locations_of_logical_stack(std::span(logical).first(2))),
            "main.leaf[go.shape.int]:31 < main.middle:22 < main.main:10");
  EXPECT_TRUE(symbolizer.locations_of_logical_stack({}).empty());
}

TEST_F(SymbolizerTest, HidesRuntimeFramesAtTheLeafOnly) {
  const Symbolizer& symbolizer = open(SyntheticBinary::ordinary());
  const std::vector<uint64_t> stack = {at(kMallocgc, 4), at(kNewTable, 4), at(kMain, 4), at(kRuntimeMain, 4)};
  EXPECT_EQ(text(symbolizer.locations_of_logical_stack(stack)), "main.main:10 | runtime.main:1");
  EXPECT_EQ(symbolizer.locations_of_logical_stack(stack, RuntimeFrames::keep).size(), 4u);
  // Nothing but runtime: all of it stays.
  const std::vector<uint64_t> runtime_only = {at(kMallocgc, 4), at(kRuntimeMain, 4), at(kGoexit, 1)};
  EXPECT_EQ(text(symbolizer.locations_of_logical_stack(runtime_only)), "runtime.mallocgc:1 | runtime.main:1");
}

TEST_F(SymbolizerTest, InternalRuntimeCountsAsRuntimeFromGo124On) {
  auto binary = SyntheticBinary::ordinary();
  binary.version = "go1.23.5";
  // 1.23's moduledata differs from 1.24's only behind what goheapd reads.
  const Symbolizer& symbolizer = open(binary);
  const std::vector<uint64_t> stack = {at(kMallocgc, 4), at(kNewTable, 4), at(kMain, 4)};
  EXPECT_EQ(text(symbolizer.locations_of_logical_stack(stack)),
            "internal/runtime/maps.newTable:1 | main.main:10");
}

TEST_F(SymbolizerTest, WrappersAreLeftOutUnlessTheyPanicked) {
  auto binary = SyntheticBinary::ordinary();
  binary.functions[kSigpanic].func_id = 19;  // sigpanic in Go 1.22 to 1.24
  const Symbolizer& symbolizer = open(binary);
  EXPECT_EQ(text(symbolizer.locations_of_return_addresses(
                std::vector{at(kMain, 4), at(kWrapped, 8), at(kRuntimeMain, 8)})),
            "main.main:10 | runtime.main:1");
  EXPECT_EQ(text(symbolizer.locations_of_return_addresses(
                std::vector{at(kSigpanic, 4), at(kWrapped, 8), at(kMain, 4)}, false, RuntimeFrames::keep)),
            "runtime.sigpanic:1 | main.(*T).Wrapped:1 | main.main:10");
}

TEST_F(SymbolizerTest, CodeThatIsNotGosHasNoName) {
  const Symbolizer& symbolizer = open(SyntheticBinary::ordinary());
  const auto locations = symbolizer.locations_of_logical_stack(std::vector<uint64_t>{0x7000, at(kMain, 4)});
  ASSERT_EQ(locations.size(), 2u);
  EXPECT_EQ(locations[0].address, 0x6fffu);
  EXPECT_EQ(locations[0].entry, 0u);
  ASSERT_EQ(locations[0].frames.size(), 1u);
  EXPECT_EQ(locations[0].frames[0].function, "");
  EXPECT_FALSE(symbolizer.frame_of(0x7000));
  EXPECT_EQ(symbolizer.locations_of_return_addresses(std::vector<uint64_t>{0, ~uint64_t{0}}).size(), 2u);
}

TEST_F(SymbolizerTest, InlineTreeThatRunsInACircleEnds) {
  auto binary = SyntheticBinary::ordinary();
  binary.functions[kMain].calls[0].parent_pc = 0x21;  // main.middle is its own caller
  const Symbolizer& symbolizer = open(binary);
  const auto stack = symbolizer.logical_stack(std::vector{at(kMain, 0x14)});
  EXPECT_GT(stack.size(), 100u);
  EXPECT_LT(stack.size(), 1000u);
  EXPECT_FALSE(symbolizer.locations_of_logical_stack(stack).empty());
}

TEST_F(SymbolizerTest, InlineTreeOutsideOfTheFunctionIsHarmless) {
  auto binary = SyntheticBinary::ordinary();
  binary.functions[kMain].inlined = {{0x7ffffff, 0x40}};  // an index far beyond the tree
  EXPECT_EQ(text(open(binary).locations_of_return_addresses(std::vector{at(kMain, 0x14)})), "main.main:31");
  binary = SyntheticBinary::ordinary();
  binary.functions[kMain].calls[0].parent_pc = -0x7fffffff;
  EXPECT_FALSE(open(binary).locations_of_return_addresses(std::vector{at(kMain, 0x14)}).empty());
}

TEST_F(SymbolizerTest, NamesTheCalleeOfADirectCall) {
  auto binary = SyntheticBinary::ordinary();
  const auto distance = static_cast<uint32_t>(at(kMallocgc, 0) - at(kMain, 5));
  binary.functions[kMain].code = {0xe8, static_cast<uint8_t>(distance), static_cast<uint8_t>(distance >> 8),
                                  static_cast<uint8_t>(distance >> 16), static_cast<uint8_t>(distance >> 24),
                                  // the same, but into the middle of mallocgc
                                  0xe8, static_cast<uint8_t>(distance), 0, 0, 0,
                                  // call *%rax
                                  0xff, 0xd0};
  const Symbolizer& symbolizer = open(binary);
  EXPECT_EQ(symbolizer.callee_before(at(kMain, 5)), "runtime.mallocgc");
  EXPECT_FALSE(symbolizer.callee_before(at(kMain, 10)));
  EXPECT_FALSE(symbolizer.callee_before(at(kMain, 12)));
  EXPECT_FALSE(symbolizer.callee_before(0));
  EXPECT_FALSE(symbolizer.callee_before(3));
  EXPECT_FALSE(symbolizer.callee_before(~uint64_t{0}));
}

TEST_F(SymbolizerTest, NamesTheCalleeOnArm64) {
  auto binary = SyntheticBinary::ordinary();
  binary.machine = ElfFile::kMachineArm64;
  const uint32_t words = static_cast<uint32_t>((at(kStart, 0) - at(kMain, 0)) / 4) & 0x3ffffff;  // backwards
  const uint32_t bl = 0x94000000 | words;
  for (int shift = 0; shift < 32; shift += 8)
    binary.functions[kMain].code.push_back(static_cast<uint8_t>(bl >> shift));
  for (auto& function : binary.functions) function.lines = {{1, 0x10}};  // in instructions
  EXPECT_EQ(open(binary).callee_before(at(kMain, 4)), "_rt0_amd64_linux");
}

TEST_F(SymbolizerTest, ThreadsShareIt) {
  const Symbolizer& symbolizer = open(SyntheticBinary::ordinary());
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (uint64_t delta = 1; delta < 0x40; ++delta) {
        EXPECT_FALSE(symbolizer.locations_of_return_addresses(std::vector{at(kMain, delta)}).empty());
        EXPECT_TRUE(symbolizer.frame_of(at(kMain, delta)));
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST(PrintableName, ReplacesTypeArguments) {
  EXPECT_EQ(printable_name("main.F[go.shape.int,go.shape.[]string]"), "main.F[...]");
  EXPECT_EQ(printable_name("main.(*List[go.shape.int]).Push.func1"), "main.(*List[...]).Push.func1");
  EXPECT_EQ(printable_name("main.f"), "main.f");
  EXPECT_EQ(printable_name("odd]["), "odd][");
  EXPECT_EQ(printable_name(""), "");
}

}  // namespace
}  // namespace goheapd::gobin

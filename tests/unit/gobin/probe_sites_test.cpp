#include "daemon/gobin/probe_sites.h"

#include <gtest/gtest.h>

#include <map>

namespace goheapd::gobin {
namespace {

constexpr uint64_t kEntry = 0x401000;
constexpr RegisterSet kRaxRbx = register_bit(0) | register_bit(3);

class Code {
 public:
  explicit Code(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)) {}
  FunctionCode function() const {
    return {"f", kEntry, kEntry + bytes_.size(), ByteView(bytes_.data(), bytes_.size())};
  }

 private:
  std::vector<uint8_t> bytes_;
};

std::vector<SiteCandidate> candidates(const Code& code, RegisterSet arguments = kRaxRbx, bool hot = true,
                                      Arch arch = Arch::amd64) {
  return site_candidates(code.function(), arch, arguments, hot,
                         [](uint64_t vaddr) { return vaddr - 0x400000; });
}

// Kinds and offsets as "F15 Pa J4 e0".
std::string summary(const std::vector<SiteCandidate>& sites) {
  std::string text;
  for (const SiteCandidate& site : sites) {
    char word[16];
    std::snprintf(word, sizeof word, "%s%c%x", text.empty() ? "" : " ",
                  "FPJe"[static_cast<size_t>(site.kind)], site.function_offset);
    text += word;
  }
  return text;
}

// cmp 0x10(%r14),%rsp; jbe +N; push %rbp; mov %rsp,%rbp; sub $0x20,%rsp: what Go 1.21 and later begin with.
std::vector<uint8_t> prologue(uint8_t jump = 0x20) {
  return {0x49, 0x3b, 0x66, 0x10, 0x76, jump, 0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x20};
}
std::vector<uint8_t> operator+(std::vector<uint8_t> a, const std::vector<uint8_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(ProbeSites, FindsAllThreeInAUsualFunction) {
  // test %rax,%rax; je; ret
  const Code code(prologue() + std::vector<uint8_t>{0x48, 0x85, 0xc0, 0x74, 0x01, 0xc3, 0xc3});
  const auto sites = candidates(code);
  EXPECT_EQ(summary(sites), "F11 P6 J4 e0");
  EXPECT_EQ(sites[0].cost, HitCost::emulated);
  EXPECT_EQ(sites[0].caller, CallerPlace::own_frame);
  EXPECT_EQ(sites[0].vaddr, kEntry + 0x11);
  EXPECT_EQ(sites[0].file_offset, 0x1011u);
  EXPECT_EQ(sites[0].bytes[0], 0x74);
  EXPECT_EQ(sites[0].size, 2);
  EXPECT_EQ(sites[1].caller, CallerPlace::return_address);
  EXPECT_EQ(sites[2].cost, HitCost::filtered_emulated);
  EXPECT_EQ(sites[3].cost, HitCost::single_step);
  EXPECT_TRUE(sites[3].may_hit_twice);
  EXPECT_FALSE(sites[2].may_hit_twice);
  EXPECT_EQ(summary(candidates(code, kRaxRbx, false)), "P6 F11 J4 e0") << "only hot functions prefer F";
}

TEST(ProbeSites, NoSiteBehindALostArgument) {
  // xor %ebx,%ebx; nop
  const Code code(prologue() + std::vector<uint8_t>{0x31, 0xdb, 0x90, 0xc3});
  EXPECT_EQ(summary(candidates(code, kRaxRbx)), "P6 J4 e0");
  EXPECT_EQ(summary(candidates(code, register_bit(0))), "F10 P6 J4 e0") << "rbx is not read";
}

TEST(ProbeSites, NoSiteThatALoopReaches) {
  // nop; dec %rcx; jne back to the nop
  const Code code(prologue() + std::vector<uint8_t>{0x90, 0x48, 0xff, 0xc9, 0x75, 0xfa, 0xc3});
  EXPECT_EQ(summary(candidates(code)), "P6 J4 e0");
}

TEST(ProbeSites, NoSiteBehindTheFirstBranch) {
  // je over a nop: not every call reaches it
  const Code code(prologue() + std::vector<uint8_t>{0x74, 0x01, 0x90, 0xc3});
  EXPECT_EQ(summary(candidates(code)), "Fe P6 J4 e0");
}

TEST(ProbeSites, NeverTheFiveByteNop) {
  // nopl 0(%rax,%rax); nop
  const Code code(prologue() + std::vector<uint8_t>{0x0f, 0x1f, 0x44, 0x00, 0x00, 0x90, 0xc3});
  EXPECT_EQ(summary(candidates(code)), "F13 P6 J4 e0");
}

TEST(ProbeSites, MultiByteNopsAreNotEmulatedOnOldKernels) {
  // nopl (%rax); ret
  const Code code(prologue() + std::vector<uint8_t>{0x0f, 0x1f, 0x00, 0xc3});
  EXPECT_EQ(summary(candidates(code)), "P6 J4 e0");
}

TEST(ProbeSites, BigFramesCheckAnAddressBelowTheStackPointer) {
  // lea -0x60(%rsp),%r12; cmp 0x10(%r14),%r12; jbe; push %rbp; mov %rsp,%rbp; nop
  const Code code(
      {0x4c, 0x8d, 0x64, 0x24, 0xa0, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x10, 0x55, 0x48, 0x89, 0xe5, 0x90, 0xc3});
  EXPECT_EQ(summary(candidates(code)), "Ff Pb J9 e0");
}

TEST(ProbeSites, HugeFramesCheckForWrapAround) {
  // mov %rsp,%r12; sub $0x10000,%r12; jb; cmp 0x10(%r14),%r12; jbe; push %rbp
  const Code code({0x49, 0x89, 0xe4, 0x49, 0x81, 0xec, 0x00, 0x00, 0x01, 0x00, 0x72, 0x20,
                   0x4d, 0x3b, 0x66, 0x10, 0x76, 0x1a, 0x55, 0x48, 0x89, 0xe5, 0xc3});
  EXPECT_EQ(summary(candidates(code)), "P12 J10 e0");
}

TEST(ProbeSites, SystemStackFunctionsCheckTheOtherGuard) {
  const Code code({0x49, 0x3b, 0x66, 0x18, 0x76, 0x10, 0x55, 0x48, 0x89, 0xe5, 0xc3});
  EXPECT_EQ(summary(candidates(code)), "P6 J4 e0");
}

TEST(ProbeSites, WithoutAStackCheckThePushCountsAtTheEntry) {
  // push %rbp; mov %rsp,%rbp; nop; ret
  const Code code({0x55, 0x48, 0x89, 0xe5, 0x90, 0xc3});
  const auto sites = candidates(code);
  EXPECT_EQ(summary(sites), "F4 P0 e0");
}

TEST(ProbeSites, Go119HasNoPush) {
  // cmp; jbe; sub $0x28,%rsp; mov %rbp,0x20(%rsp); lea 0x20(%rsp),%rbp; nop
  const Code code({0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x48, 0x83, 0xec, 0x28, 0x48,
                   0x89, 0x6c, 0x24, 0x20, 0x48, 0x8d, 0x6c, 0x24, 0x20, 0x90, 0xc3});
  EXPECT_EQ(summary(candidates(code)), "F14 J4 e0");
}

TEST(ProbeSites, Arm64TakesBranches) {
  // ldr x16,[x28,#16]; cmp sp,x16; b.ls; str x30,[sp,#-48]!; stur x29,[sp,#-8]; sub x29,sp,#8; cmp x3,#1; cbz x3; ret
  const Code code({0x90, 0x0b, 0x40, 0xf9, 0xff, 0x63, 0x30, 0xeb, 0xe9, 0x05, 0x00, 0x54,
                   0xfe, 0x0f, 0x1d, 0xf8, 0xfd, 0x83, 0x1f, 0xf8, 0xfd, 0x23, 0x00, 0xd1,
                   0x7f, 0x04, 0x00, 0xf1, 0x63, 0x00, 0x00, 0xb4, 0xc0, 0x03, 0x5f, 0xd6});
  const auto sites = candidates(code, register_bit(0) | register_bit(1) | register_bit(3), true, Arch::arm64);
  EXPECT_EQ(summary(sites), "F1c J8 e0") << "a comparison does not write its first operand";
  EXPECT_EQ(sites[0].caller, CallerPlace::own_frame);
  EXPECT_EQ(sites[1].cost, HitCost::filtered_emulated);
}

// What follows a call of kEntry + 0x20 that begins at offset 14: "R16" = a branch at 0x16, "-" = none that can be used.
std::string result_branch_summary(const std::vector<uint8_t>& behind) {
  const Code code(prologue() + std::vector<uint8_t>{0xe8, 0x0d, 0x00, 0x00, 0x00} + behind);
  const auto sites = result_branches(code.function(), Arch::amd64, kEntry + 0x20,
                                     [](uint64_t vaddr) { return vaddr - 0x400000; });
  if (!sites) return "-";
  std::string text;
  for (const SiteCandidate& site : *sites) {
    EXPECT_EQ(site.kind, SiteKind::result_branch);
    EXPECT_EQ(site.caller, CallerPlace::own_frame);
    EXPECT_EQ(site.cost, HitCost::emulated);
    char word[16];
    std::snprintf(word, sizeof word, "R%x", site.function_offset);
    text += word;
  }
  return text;
}

TEST(ProbeSites, TheBranchBehindACallSeesItsResult) {
  // test %rax,%rax; je; ret
  EXPECT_EQ(result_branch_summary({0x48, 0x85, 0xc0, 0x74, 0x01, 0xc3, 0xc3}), "R16");
  // nop; test %rax,%rax; je: 0x90 may stand between
  EXPECT_EQ(result_branch_summary({0x90, 0x48, 0x85, 0xc0, 0x74, 0x01, 0xc3, 0xc3}), "R17");
}

TEST(ProbeSites, NoBranchBehindACallThatLosesItsResult) {
  EXPECT_EQ(result_branch_summary({0x31, 0xc0, 0x74, 0x01, 0xc3, 0xc3}), "-") << "xor %eax,%eax; je";
  EXPECT_EQ(result_branch_summary({0xc3}), "-") << "ret";
  EXPECT_EQ(result_branch_summary({0xeb, 0x00, 0x74, 0x01, 0xc3, 0xc3}), "-") << "a jump comes first";
  EXPECT_EQ(result_branch_summary({}), "-") << "the function ends";
}

TEST(ProbeSites, NoBranchThatIsReachedWithoutTheCall) {
  // test %rax,%rax; je +4; nop; nop; jmp back to the test
  EXPECT_EQ(result_branch_summary({0x48, 0x85, 0xc0, 0x74, 0x04, 0x90, 0x90, 0xeb, 0xf7, 0xc3}), "-");
}

TEST(ProbeSites, WithoutCallsThereAreNoBranches) {
  const Code code(prologue() + std::vector<uint8_t>{0x48, 0x85, 0xc0, 0x74, 0x01, 0xc3, 0xc3});
  const auto sites =
      result_branches(code.function(), Arch::amd64, kEntry + 0x20, [](uint64_t vaddr) { return vaddr; });
  ASSERT_TRUE(sites);
  EXPECT_TRUE(sites->empty());
}

TEST(ProbeSites, NothingInEmptyOrForeignBytes) {
  EXPECT_TRUE(candidates(Code({})).empty());
  EXPECT_TRUE(candidates(Code({0x06, 0x06, 0x06})).empty()) << "no instruction of 64-bit code";
  EXPECT_EQ(summary(candidates(Code({0xf0, 0x48, 0xff, 0x00, 0xc3}))), "") << "kernels refuse lock prefixes";
}

TEST(ProbeSites, NothingThatIsNotInTheFile) {
  const Code code(prologue());
  EXPECT_TRUE(
      site_candidates(code.function(), Arch::amd64, kRaxRbx, true, [](uint64_t) -> std::optional<uint64_t> {
        return std::nullopt;
      }).empty());
}

TEST(EmulatedEverywhere, KnowsTheKernelsList) {
  const std::map<std::vector<uint8_t>, bool> expected = {
      {{0x90}, true},                                // nop
      {{0x66, 0x90}, true},                          // 2-byte nop
      {{0xf3, 0x90}, true},                          // pause
      {{0x0f, 0x1f, 0x00}, false},                   // 3-byte nop, from 6.18 on
      {{0x55}, true},                                // push %rbp
      {{0x41, 0x54}, true},                          // push %r12
      {{0x5d}, false},                               // pop %rbp
      {{0xeb, 0x02}, true},                          // jmp
      {{0xe9, 0x02, 0x00, 0x00, 0x00}, true},        // jmp
      {{0x76, 0x02}, true},                          // jbe
      {{0x0f, 0x86, 0x02, 0x00, 0x00, 0x00}, true},  // jbe
      {{0xe8, 0x02, 0x00, 0x00, 0x00}, true},        // call
      {{0xff, 0xd6}, false},                         // call *%rsi
      {{0xc3}, false},                               // ret
      {{0x48, 0x83, 0xec, 0x20}, false},             // sub $0x20,%rsp
      {{0x48, 0x89, 0xe5}, false},                   // mov %rsp,%rbp
  };
  for (const auto& [bytes, emulated] : expected) {
    const Code code(bytes);
    auto instructions = disassemble(code.function(), Arch::amd64);
    ASSERT_TRUE(instructions);
    ASSERT_EQ(instructions->size(), 1u);
    EXPECT_EQ(emulated_everywhere(instructions->front(), Arch::amd64), emulated)
        << instructions->front().text;
  }
}

}  // namespace
}  // namespace goheapd::gobin

#include <gtest/gtest.h>

#include <functional>

#include "daemon/process/discovery.h"
#include "daemon/target_opener.h"
#include "tests/unit/process/fake_proc.h"

namespace goheapd {
namespace {

using process::Discovery;
using process::Interest;
using process::kFirstFakePid;
using process::ProcessSighting;

class JudgeSighting : public testing::Test {
 protected:
  // A process that is seen with its present program; `then` happens before it is judged.
  Interest judge(const std::function<void()>& then, const TargetSelection& selection = {}) {
    Interest interest = Interest::watch;
    auto discovery = Discovery::create(proc_, [&](const ProcessSighting& sighting) {
      then();
      interest = judge_sighting(proc_, sighting, selection);
      return Interest::ignore_process;
    });
    EXPECT_TRUE(discovery->scan());
    EXPECT_EQ(discovery->counters().judged, 1u);
    return interest;
  }

  process::FakeProc fake_;
  process::ProcFs proc_ = *process::ProcFs::open(fake_.root());
  const std::string first_ = fake_.executable("first");
  const std::string second_ = fake_.executable("second");
};

TEST_F(JudgeSighting, AFileThatIsNotGoIsIgnored) {
  fake_.put(kFirstFakePid, {.exe = first_});
  EXPECT_EQ(judge([] {}), Interest::ignore_file);
}

TEST_F(JudgeSighting, OfAProcessThatBecameAnotherProgramNothingIsSaidOfFiles) {
  fake_.put(kFirstFakePid, {.exe = first_});
  EXPECT_EQ(judge([this] { fake_.put(kFirstFakePid, {.exe = second_}); }), Interest::ignore_process);
}

TEST_F(JudgeSighting, AFileThatWasWrittenToIsNotTheOneThatWasSeen) {
  fake_.put(kFirstFakePid, {.exe = first_});
  EXPECT_EQ(judge([this] { std::ofstream(first_) << "something else"; }), Interest::ignore_process);
}

TEST_F(JudgeSighting, WhatHasEndedIsNobodysBusiness) {
  fake_.put(kFirstFakePid, {.exe = first_});
  EXPECT_EQ(judge([this] { fake_.remove(kFirstFakePid); }), Interest::ignore_process);
}

TEST_F(JudgeSighting, SoIsWhatHasEndedWhenItIsOpened) {
  gobin::BinaryCache binaries;
  const model::ProcessKey key{kFirstFakePid, 100, 0};
  fake_.put(kFirstFakePid, {.exe = ""});  // its parent has not waited for it yet
  const OpenedTarget ended = open_target(proc_, key, {}, nullptr, nullptr, binaries, true);
  EXPECT_EQ(ended.verdict, OpenedTarget::Verdict::not_go) << ended.status.reason;
}

TEST_F(JudgeSighting, OtherPidsAreNotOurs) {
  fake_.put(kFirstFakePid, {.exe = first_});
  TargetSelection selection;
  selection.pids = {1};
  EXPECT_EQ(judge([] {}, selection), Interest::ignore_process);
}

// The verdict on what a process has become must not stick to what it was, or no process of that file is ever seen again.
TEST_F(JudgeSighting, AnExecInBetweenDoesNotCondemnTheFirstFile) {
  int judged = 0;
  auto discovery = Discovery::create(proc_, [&](const ProcessSighting& sighting) {
    if (++judged == 1) fake_.put(kFirstFakePid, {.exe = second_});
    return judge_sighting(proc_, sighting, {});
  });
  ASSERT_TRUE(discovery);
  fake_.put(kFirstFakePid, {.exe = first_});
  ASSERT_TRUE(discovery->scan());
  EXPECT_EQ(judged, 1);
  fake_.put(kFirstFakePid + 1, {.exe = first_});
  ASSERT_TRUE(discovery->scan());
  EXPECT_EQ(judged, 3);  // the new process, and what the first one is now
}

}  // namespace
}  // namespace goheapd

#include "daemon/cli/remarks.h"

#include <gtest/gtest.h>

#include "daemon/cli/process_check.h"

namespace goheapd::cli {
namespace {

using model::Mode;

TEST(Remarks, LiveHeapIsForModeExactOnly) {
  for (const Mode mode : {Mode::automatic, Mode::sampled, Mode::buckets}) {
    const auto remark = remark_on_live_heap(mode, true);
    ASSERT_TRUE(remark);
    EXPECT_NE(remark->find("mode " + std::string(model::name_of(mode))), std::string::npos) << *remark;
    EXPECT_FALSE(remark_on_live_heap(mode, false));
  }
  EXPECT_FALSE(remark_on_live_heap(Mode::exact, true));
}

// pprof shows what is in use unless told otherwise, which is nothing where only allocations are counted.
TEST(Remarks, ARecordingWithoutLiveHeapSaysSo) {
  const auto remark = remark_on_recording(Mode::exact, false, "heap");
  ASSERT_TRUE(remark);
  EXPECT_NE(remark->find("--type allocs"), std::string::npos) << *remark;
  EXPECT_EQ(command_to_look_at("x", Mode::exact, false), "go tool pprof -top -sample_index=alloc_space x");
  EXPECT_FALSE(remark_on_recording(Mode::exact, false, "allocs"));
  EXPECT_FALSE(remark_on_recording(Mode::exact, true, "heap"));
  EXPECT_FALSE(remark_on_recording(Mode::automatic, false, "heap"));
  EXPECT_EQ(command_to_look_at("x", Mode::exact, true), "go tool pprof -top x");
  EXPECT_EQ(command_to_look_at("x", Mode::automatic, false), "go tool pprof -top x");
}

TEST(Remarks, RootIsNotToldToBecomeRoot) {
  EXPECT_EQ(advice_on_access(false, false), "run goheapd as root");
  for (const bool sees_all : {false, true})
    EXPECT_EQ(advice_on_access(true, sees_all).find("run goheapd as root"), std::string::npos);
  EXPECT_NE(advice_on_access(true, false).find("CAP_SYS_PTRACE: grant it"), std::string::npos);
  EXPECT_NE(advice_on_access(true, true).find("user namespace"), std::string::npos);
}

}  // namespace
}  // namespace goheapd::cli

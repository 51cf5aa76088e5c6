#include "daemon/profile/site_classifier.h"

#include <gtest/gtest.h>

#include <vector>

namespace goheapd::profile {
namespace {

using model::AllocationKind;

AllocationSite classify_names(std::vector<std::string_view> names) { return classify(names); }

TEST(SiteClassifier, TheWholeRuntimeBlockDecides) {
  // Growing a map ends in newobject; that is still a map.
  auto site = classify_names({"runtime.mallocgc", "runtime.newarray", "internal/runtime/maps.newGroups",
                              "internal/runtime/maps.(*table).grow", "runtime.mapassign_faststr", "main.fill",
                              "main.main"});
  EXPECT_EQ(site.kind, AllocationKind::map_growth);
  EXPECT_EQ(site.function, "main.fill");
}

TEST(SiteClassifier, EachKind) {
  EXPECT_EQ(classify_names({"runtime.newobject", "main.f"}).kind, AllocationKind::object);
  EXPECT_EQ(classify_names({"runtime.makeslice", "main.f"}).kind, AllocationKind::slice);
  EXPECT_EQ(classify_names({"runtime.growslice", "main.f"}).kind, AllocationKind::slice_growth);
  EXPECT_EQ(classify_names({"runtime.makemap_small", "main.f"}).kind, AllocationKind::map);
  EXPECT_EQ(
      classify_names({"runtime.rawstring", "runtime.rawstringtmp", "runtime.concatstrings", "main.f"}).kind,
      AllocationKind::string);
  EXPECT_EQ(classify_names({"runtime.convT64", "main.f"}).kind, AllocationKind::interface);
  EXPECT_EQ(classify_names({"runtime.newobject", "runtime.makechan", "main.f"}).kind,
            AllocationKind::channel);
  EXPECT_EQ(
      classify_names({"runtime.malg", "runtime.newproc1", "runtime.newproc.func1", "runtime.systemstack"})
          .kind,
      AllocationKind::goroutine);
  EXPECT_EQ(classify_names({"main.f"}).kind, AllocationKind::other);
  EXPECT_EQ(classify_names({}).kind, AllocationKind::other);
}

TEST(SiteClassifier, ClosureOnlyWhereTheTypeSaysSo) {
  const std::vector<std::string_view> names{"runtime.newobject", "main.f"};
  EXPECT_EQ(classify(names, true).kind, AllocationKind::closure);
  const std::vector<std::string_view> slice{"runtime.makeslice", "main.f"};
  EXPECT_EQ(classify(slice, true).kind, AllocationKind::slice);
}

TEST(SiteClassifier, FramesOfUserCodeDoNotCount) {
  // A user function that is called by the runtime's map code must not turn its own allocation into a map's.
  auto site = classify_names({"runtime.newobject", "main.hash", "runtime.mapassign", "main.main"});
  EXPECT_EQ(site.kind, AllocationKind::object);
  EXPECT_EQ(site.function, "main.hash");
}

TEST(SiteClassifier, PackagesThatOnlyLookLikeTheRuntime) {
  EXPECT_FALSE(is_runtime_function("runtime/pprof.writeHeap"));
  EXPECT_FALSE(is_runtime_function("example.com/runtime.New"));
  EXPECT_TRUE(is_runtime_function("runtime.newobject"));
  EXPECT_TRUE(is_runtime_function("internal/runtime/maps.NewMap"));
}

}  // namespace
}  // namespace goheapd::profile

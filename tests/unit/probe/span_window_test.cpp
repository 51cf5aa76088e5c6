// What a refill reads of an mspan, for every version's layout.
#include <gtest/gtest.h>

#include "daemon/gobin/runtime_layout.h"
#include "daemon/probe/attach_request.h"

namespace goheapd::probe {
namespace {

TargetLayout layout_of(int minor, gobin::Arch arch) {
  gobin::GoVersion version;
  version.minor = minor;
  const auto layout = gobin::runtime_layout(version, arch);
  EXPECT_TRUE(layout) << to_string(layout.error());
  return layout ? target_layout(*layout) : TargetLayout{};
}

TEST(SpanWindow, HoldsTheCountsOfEveryVersion) {
  for (const gobin::Arch arch : {gobin::Arch::amd64, gobin::Arch::arm64}) {
    for (const int minor : {19, 21, 22, 23, 24, 25, 26, 27}) {
      SCOPED_TRACE(minor);
      const TargetLayout layout = layout_of(minor, arch);
      const auto window = span_window(layout);
      ASSERT_TRUE(window) << to_string(window.error());
      EXPECT_EQ(window->offset % 8, 0u);
      EXPECT_LE(window->offset + kSpanWindowBytes, layout.span_bytes);
      EXPECT_EQ(window->offset + window->nelems_bit / 8, layout.span_nelems);
      EXPECT_EQ(window->offset + window->alloc_count_bit / 8, layout.span_alloc_count);
      EXPECT_EQ(window->offset + window->class_bit / 8, layout.span_class);
      EXPECT_LT(window->class_bit, kSpanWindowBytes * 8);
    }
  }
}

TEST(SpanWindow, RefusesWhatItCannotHold) {
  const TargetLayout good = layout_of(24, gobin::Arch::amd64);
  TargetLayout far = good;
  far.span_class = far.span_nelems + kSpanWindowBytes;
  EXPECT_FALSE(span_window(far));
  TargetLayout short_struct = good;
  short_struct.span_bytes = good.span_class + 1;
  EXPECT_FALSE(span_window(short_struct)) << "would read what is behind the struct";
  TargetLayout straddling = good;
  straddling.span_alloc_count = 79;
  EXPECT_FALSE(span_window(straddling));
}

}  // namespace
}  // namespace goheapd::probe

// Compilers differ in what the verifier can follow: a bound that one leaves in place the next one folds away. This program
// has the eBPF programs as the clang of the next Debian makes them.
#include <gtest/gtest.h>

#include "daemon/gobin/runtime_layout.h"
#include "daemon/probe/bpf_object.h"

namespace goheapd::testing {
namespace {

class Loads : public ::testing::TestWithParam<probe::AttachMethod> {};

TEST_P(Loads, ForTheMethod) {
  const auto object = probe::BpfObject::load({}, GetParam(), gobin::kSizeClassBytes);
  EXPECT_TRUE(object) << to_string(object.error());
}

INSTANTIATE_TEST_SUITE_P(All, Loads,
                         ::testing::Values(probe::AttachMethod::uprobe_multi,
                                           probe::AttachMethod::tracefs_event,
                                           probe::AttachMethod::perf_uprobe),
                         [](const auto& method) { return std::string(probe::name_of(method.param)); });

}  // namespace
}  // namespace goheapd::testing

#include "daemon/cli/inspect.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "tests/support/go_toolchain.h"

namespace goheapd::cli {
namespace {

using nlohmann::json;

gobin::ProbePoint point(const char* function, gobin::HitCost cost = gobin::HitCost::emulated) {
  gobin::SiteCandidate site;
  site.kind =
      cost == gobin::HitCost::single_step ? gobin::SiteKind::entry : gobin::SiteKind::push_frame_pointer;
  site.vaddr = 0x40a00a;
  site.file_offset = 0xa00a;
  site.function_offset = 10;
  site.bytes = {0x55};
  site.size = 1;
  site.text = "push rbp";
  site.cost = cost;
  site.reason = "because";
  gobin::ProbePoint made;
  made.function = function;
  made.min_size = 1;
  made.candidates = {site};
  return made;
}

Inspection usual() {
  Inspection found;
  found.path = "/usr/bin/server";
  found.info.version = {.minor = 24, .patch = 4, .text = "go1.24.4", .experiments = {}};
  found.info.main_package = "example.org/server";
  found.info.module = "example.org";
  found.info.module_version = "v1.2.3";
  found.info.stripped = true;
  found.measured_release = "go1.24.4";
  found.links_memory_profile = true;
  found.layout = {{"mspan", 0, 160, "https://x#L402"},
                  {"mspan.nelems", 50, 2, "https://x#L431"},
                  {"const KindSpecialProfile", 3, 0, "https://x#L1828"}};
  gobin::GlobalVariable heap;
  heap.name = "runtime.mheap_";
  heap.vaddr = 0x9e7f20;
  heap.votes = 8;
  found.variables = {heap};
  found.sampled = std::vector<gobin::ProbePoint>{point("runtime.profilealloc")};
  found.spans = std::vector<gobin::ProbePoint>{point("runtime.(*mcache).refill")};
  found.exact = std::vector<gobin::ProbePoint>{point("runtime.mallocgc")};
  found.abilities = judge(found);
  return found;
}

bool works(const Inspection& inspection, const std::string& mode) {
  for (const Ability& ability : judge(inspection)) {
    if (ability.mode == mode) return ability.works;
  }
  ADD_FAILURE() << "no word about " << mode;
  return false;
}

TEST(Inspect, EverythingWorksWithAUsualProgram) {
  for (const char* mode : {"sampled", "exact", "buckets"}) EXPECT_TRUE(works(usual(), mode)) << mode;
}

TEST(Inspect, WithoutTheMemoryProfileSpansAreSampled) {
  Inspection found = usual();
  found.links_memory_profile = false;
  EXPECT_TRUE(works(found, "sampled"));
  EXPECT_NE(judge(found).front().why.find("source spans"), std::string::npos);
  EXPECT_FALSE(works(found, "buckets"));
  EXPECT_TRUE(works(found, "exact"));
  found.spans = fail("copied into its callers", "runtime.(*mcentral).cacheSpan");
  EXPECT_FALSE(works(found, "sampled"));
  EXPECT_NE(judge(found).front().why.find("cacheSpan"), std::string::npos);
}

TEST(Inspect, TheRateOfTheProcessCountsNotTheFile) {
  Inspection found = usual();
  found.live = LiveFindings{.pid = 1, .load_bias = 0, .sample_rate = 524288, .error = std::nullopt};
  EXPECT_TRUE(works(found, "sampled"));
  found.live->sample_rate = 0;
  EXPECT_TRUE(works(found, "sampled")) << "by spans";
  EXPECT_FALSE(works(found, "buckets"));
  found.live->sample_rate = 1;
  found.live->error = Error{"the self check failed", "mheap_", 0};
  EXPECT_FALSE(works(found, "sampled"));
}

TEST(Inspect, AMissingVariableOrFunctionIsNamed) {
  Inspection found = usual();
  found.variables.front().vaddr.reset();
  found.variables.front().reason = "contradiction";
  EXPECT_FALSE(works(found, "sampled"));
  EXPECT_NE(judge(found).front().why.find("runtime.mheap_: contradiction"), std::string::npos);

  found = usual();
  found.exact = fail("inlined away", "runtime.mallocgc");
  EXPECT_FALSE(works(found, "exact"));
  EXPECT_NE(to_text(found, false).find("inlined away: runtime.mallocgc"), std::string::npos);
  found.abilities = judge(found);
  const json report = json::parse(to_json(found));
  EXPECT_EQ(report["probe_sites"]["exact"], json::array());
  EXPECT_EQ(report["modes"]["exact"]["works"], false);
}

TEST(Inspect, ASingleSteppedSiteIsReportedAsDear) {
  Inspection found = usual();
  found.exact = std::vector<gobin::ProbePoint>{point("runtime.mallocgc", gobin::HitCost::single_step)};
  EXPECT_NE(judge(found)[1].why.find("single-stepped"), std::string::npos);
}

TEST(Inspect, TextShowsSitesVariablesAndSources) {
  const std::string text = to_text(usual(), true);
  for (const char* part : {"go1.24.4", "example.org v1.2.3", "stripped", "runtime.profilealloc", "0x40a00a",
                           "55 ", "push rbp", "emulated", "runtime.mheap_", "0x9e7f20", "code of 8 functions",
                           "mspan.nelems", "https://x#L431", "const KindSpecialProfile"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part;
  }
}

TEST(Inspect, ShortTextShowsVerdictsAndChosenSites) {
  const std::string text = to_text(usual(), false);
  for (const char* part : {"go1.24.4", "modes", "runtime.profilealloc", "push rbp", "--verbose"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part;
  }
  for (const char* part : {"mspan.nelems", "0x9e7f20", "https://x"}) {
    EXPECT_EQ(text.find(part), std::string::npos) << part;
  }
}

TEST(Inspect, JsonSaysTheSame) {
  Inspection found = usual();
  found.live = LiveFindings{.pid = 42, .load_bias = 0x1000, .sample_rate = 524288, .error = std::nullopt};
  const json report = json::parse(to_json(found));
  EXPECT_EQ(report["supported"], true);
  EXPECT_EQ(report["go_version"], "go1.24.4");
  EXPECT_EQ(report["process"]["mem_profile_rate"], 524288);
  EXPECT_EQ(report["modes"]["exact"]["works"], true);
  const json& site = report["probe_sites"]["sampled"][0]["sites"][0];
  EXPECT_EQ(site["bytes"], "55");
  EXPECT_EQ(site["cost"], "emulated");
  EXPECT_EQ(site["kind"], "push_frame_pointer");
  EXPECT_EQ(report["layout"][1]["offset"], 50);
  EXPECT_EQ(report["variables"][0]["address"], "0x9e7f20");
}

TEST(Inspect, JsonSurvivesNamesThatAreNoUtf8) {
  Inspection found = usual();
  found.path = "/tmp/\xff\xfe";
  found.info.module = "\xc3\x28";
  EXPECT_FALSE(json::parse(to_json(found), nullptr, false).is_discarded());
  const json refusal = json::parse(refusal_to_json("/tmp/\xff", Error{"not a Go program", "\xff", 0}));
  EXPECT_EQ(refusal["supported"], false);
}

TEST(Inspect, RefusesWhatIsNoGoProgram) {
  const auto found = inspect({.file = "/bin/sh", .pid = std::nullopt});
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().subject, "/bin/sh");
  EXPECT_FALSE(inspect({.file = {}, .pid = ::getpid()})) << "this test is written in C++";
  EXPECT_EQ(run_inspect({.file = "/nowhere", .pid = std::nullopt}), 1);
}

TEST(Inspect, ARealProgramOfEveryToolchain) {
  const auto minors = test::go_minors();
  ASSERT_FALSE(minors.empty()) << "run tests/tools/fetch-go";
  for (int minor : minors) {
    auto path = test::build_go_program(minor, {.program = "allocator", .strip = true});
    ASSERT_TRUE(path) << to_string(path.error());
    const auto found = inspect({.file = *path, .pid = std::nullopt});
    ASSERT_TRUE(found) << to_string(found.error());
    const json report = json::parse(to_json(*found));
    EXPECT_EQ(report["stripped"], true);
    EXPECT_EQ(report["probe_sites"]["sampled"].size(), 5u);
    EXPECT_EQ(report["probe_sites"]["sampled_spans"].size(), 4u);
    EXPECT_EQ(report["modes"]["exact"]["works"], true);
    for (const json& variable : report["variables"])
      EXPECT_FALSE(variable["address"].is_null()) << variable["name"];
  }
}

}  // namespace
}  // namespace goheapd::cli

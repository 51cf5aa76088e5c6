#include "exporters/prometheus/target_collector.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "exporters/prometheus/self_collector.h"
#include "tests/unit/exporters/fixtures.h"

namespace goheapd::exporters::prometheus_text {
namespace {

using prometheus::MetricFamily;

// A source with the targets it is given, for what the fixed ones do not show.
class GivenTargets : public fixtures::FixedSource {
 public:
  explicit GivenTargets(std::vector<model::TargetStatus> targets) : targets_(std::move(targets)) {}
  std::vector<model::TargetStatus> targets() override { return targets_; }

 private:
  std::vector<model::TargetStatus> targets_;
};

model::TargetStatus attached(pid_t pid, uint64_t start_time) {
  model::TargetStatus target;
  target.process = {pid, start_time, 0};
  target.comm = "c" + std::to_string(start_time);
  target.state = model::TargetState::attached;
  return target;
}

const MetricFamily& family(const std::vector<MetricFamily>& families, const std::string& name) {
  for (const auto& candidate : families) {
    if (candidate.name == name) return candidate;
  }
  static const MetricFamily kNone;
  ADD_FAILURE() << "no family " << name;
  return kNone;
}

TEST(TargetCollector, EveryFamilyIsThereWithoutTargets) {
  GivenTargets source = GivenTargets({});
  const auto families = TargetCollector(source).Collect();
  for (const char* name : {"goheapd_build_info",
                           "goheapd_targets",
                           "goheapd_target_info",
                           "goheapd_events_total",
                           "goheapd_lost_events_total",
                           "goheapd_probe_hits_total",
                           "goheapd_overhead_ratio",
                           "goheapd_overhead_limit_ratio",
                           "goheapd_alloc_bytes_total",
                           "goheapd_alloc_objects_total",
                           "goheapd_live_bytes",
                           "goheapd_live_objects",
                           "goheapd_site_live_bytes",
                           "goheapd_site_alloc_bytes_total",
                           "goheapd_gc_cycles_total",
                           "goheapd_gc_pause_seconds",
                           "goheapd_settled_objects_total",
                           "goheapd_targets_without_series",
                           "goheapd_main_loop_age_seconds",
                           "goheapd_runtime_sampling_refused_total"}) {
    EXPECT_FALSE(family(families, name).help.empty()) << name;
  }
  EXPECT_EQ(family(families, "goheapd_targets").metric.size(), 5u);
  EXPECT_EQ(family(families, "goheapd_lost_events_total").metric.size(), 2u);
}

TEST(TargetCollector, NoSeriesIsThereTwice) {
  fixtures::FixedSource source;
  for (const auto& candidate : TargetCollector(source).Collect()) {
    std::set<std::vector<prometheus::ClientMetric::Label>> seen;
    for (const auto& metric : candidate.metric) {
      EXPECT_TRUE(seen.insert(metric.label).second) << candidate.name;
      std::set<std::string> names;
      for (const auto& label : metric.label) EXPECT_TRUE(names.insert(label.name).second) << candidate.name;
    }
  }
}

// As one series their sum would fall, in a counter, when one of them leaves the top ones.
TEST(TargetCollector, NamesThatWouldBecomeOneByCuttingOrCleaningStayApart) {
  model::TargetStatus target = attached(1, 1);
  target.has_live = true;
  target.top_sites = {{std::string(300, 'x') + "1", 1, 1},
                      {std::string(300, 'x') + "2", 2, 2},
                      {"main.\xff", 4, 4},
                      {"main.\xfe", 8, 8},
                      {"main.fill", 16, 16}};
  GivenTargets source = GivenTargets({target});
  const auto families = TargetCollector(source).Collect();
  std::map<std::string, double> sites;
  for (const auto& metric : family(families, "goheapd_site_live_bytes").metric) {
    sites[metric.label.back().value] = metric.gauge.value;
    EXPECT_LE(metric.label.back().value.size(), kMaxLabelBytes + 3);
  }
  EXPECT_EQ(sites.size(), 6u);
  EXPECT_EQ(sites["main.fill"], 16);
  EXPECT_EQ(sites["other"], 0);
  std::set<double> values;
  for (const auto& [name, value] : sites) values.insert(value);
  EXPECT_EQ(values, (std::set<double>{0, 1, 2, 4, 8, 16}));
}

TEST(TargetCollector, OfTwoLivesOfOnePidTheNewerIsShown) {
  GivenTargets source = GivenTargets({attached(7, 200), attached(7, 100)});
  const auto families = TargetCollector(source).Collect();
  const auto& hits = family(families, "goheapd_probe_hits_total");
  ASSERT_EQ(hits.metric.size(), 1u);
  EXPECT_EQ(hits.metric[0].label[1].value, "c200");
}

TEST(TargetCollector, ManyTargetsAreCountedInsteadOfShown) {
  std::vector<model::TargetStatus> many;
  for (pid_t pid = 1; pid <= static_cast<pid_t>(kMaxTargetsWithSeries) + 5; ++pid)
    many.push_back(attached(pid, 1));
  GivenTargets source = GivenTargets(many);
  const auto families = TargetCollector(source).Collect();
  EXPECT_EQ(family(families, "goheapd_probe_hits_total").metric.size(), kMaxTargetsWithSeries);
  EXPECT_EQ(family(families, "goheapd_targets_without_series").metric[0].gauge.value, 5);
  EXPECT_EQ(family(families, "goheapd_targets").metric[0].gauge.value, static_cast<double>(many.size()));
}

// What a Prometheus has to keep for a host with as many programs as will ever be shown, with hostile names.
TEST(TargetCollector, FiveHundredTargetsStayWithinTheBound) {
  // The daemon lets all targets together show 4,500 sites at most (sites_within).
  constexpr size_t kSites = 9;
  std::vector<model::TargetStatus> many;
  for (pid_t pid = 1; pid <= 500; ++pid) {
    model::TargetStatus& target = many.emplace_back(attached(pid, 1));
    target.comm = std::string(5000, 'c');
    target.exe = std::string(5000, 'e');
    target.module = std::string(5000, 'm');
    target.namespace_name = target.pod = target.container = std::string(300, 'k');
    target.has_live = true;
    target.last_gc = fixtures::gc_cycle(1);
    // As many as the runtime has reasons.
    for (const char* reason : {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"})
      target.stops.push_back({reason, false, 0, 0});
    for (size_t site = 0; site < kSites; ++site)
      target.top_sites.push_back({"f" + std::to_string(site) + std::string(5000, 'x'), 1, 1});
  }
  GivenTargets source = GivenTargets(many);
  size_t series = 0;
  for (const auto& each : TargetCollector(source).Collect())
    for (const auto& metric : each.metric) {
      series += each.type == prometheus::MetricType::Histogram ? metric.histogram.bucket.size() + 2 : 1;
      for (const auto& label : metric.label) EXPECT_LE(label.value.size(), kMaxLabelBytes + 3);
    }
  EXPECT_GT(series, 500u * 30);
  EXPECT_LE(series, 500u * (90 + 2 * kSites));
}

TEST(TargetCollector, UnknownLiveHeapHasNoSeries) {
  fixtures::FixedSource source;
  const auto families = TargetCollector(source).Collect();
  EXPECT_EQ(family(families, "goheapd_live_bytes").metric.size(), 2u);
  EXPECT_EQ(family(families, "goheapd_alloc_bytes_total").metric.size(), 3 * model::kAllocationKinds);
}

TEST(SelfCollector, TellsOfThisProcess) {
  const auto families = SelfCollector().Collect();
  EXPECT_GT(family(families, "process_resident_memory_bytes").metric.at(0).gauge.value, 1e6);
  EXPECT_GT(family(families, "process_virtual_memory_bytes").metric.at(0).gauge.value, 1e6);
  EXPECT_GE(family(families, "process_open_fds").metric.at(0).gauge.value, 3);
  EXPECT_GT(family(families, "process_max_fds").metric.at(0).gauge.value, 3);
  EXPECT_GT(family(families, "process_cpu_seconds_total").metric.at(0).counter.value, 0);
  const double start = family(families, "process_start_time_seconds").metric.at(0).gauge.value;
  const auto now = static_cast<double>(std::time(nullptr));
  EXPECT_LE(start, now + 1);
  EXPECT_GT(start, now - 3600);
}

}  // namespace
}  // namespace goheapd::exporters::prometheus_text

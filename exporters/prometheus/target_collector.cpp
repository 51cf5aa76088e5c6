#include "exporters/prometheus/target_collector.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/base/utf8.h"

namespace goheapd::exporters::prometheus_text {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;
using Targets = std::vector<const model::TargetStatus*>;

// A family that is filled one series at a time.
class Family {
 public:
  Family(std::string name, std::string help, MetricType type) {
    family_.name = std::move(name);
    family_.help = std::move(help);
    family_.type = type;
  }

  void add(Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    (family_.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    family_.metric.push_back(std::move(metric));
  }
  void add_histogram(Labels labels, ClientMetric::Histogram histogram) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.histogram = std::move(histogram);
    family_.metric.push_back(std::move(metric));
  }
  MetricFamily take() { return std::move(family_); }

 private:
  MetricFamily family_;
};

ClientMetric::Label label(std::string name, std::string_view value) {
  return {std::move(name), clean_utf8(value, kMaxLabelBytes)};
}

Labels target_labels(const model::TargetStatus& target) {
  Labels labels = {label("pid", std::to_string(target.process.pid)), label("comm", target.comm)};
  // An empty label is the same as none, so a target outside Kubernetes has none.
  if (!target.namespace_name.empty()) labels.push_back(label("namespace", target.namespace_name));
  if (!target.pod.empty()) labels.push_back(label("pod", target.pod));
  if (!target.container.empty()) labels.push_back(label("container", target.container));
  return labels;
}

Labels with(Labels labels, ClientMetric::Label more) {
  labels.push_back(std::move(more));
  return labels;
}

// The attached ones, one per pid (two lives of one pid would be one series twice), at most kMaxTargetsWithSeries.
Targets targets_with_series(const std::vector<model::TargetStatus>& all) {
  std::map<pid_t, const model::TargetStatus*> newest;
  for (const model::TargetStatus& target : all) {
    if (target.state != model::TargetState::attached) continue;
    auto& entry = newest[target.process.pid];
    if (entry == nullptr || entry->process < target.process) entry = &target;
  }
  Targets targets;
  for (const auto& [pid, target] : newest) {
    if (targets.size() < kMaxTargetsWithSeries) targets.push_back(target);
  }
  return targets;
}

template <typename Value>
MetricFamily per_target(std::string name, std::string help, MetricType type, const Targets& targets,
                        Value value) {
  Family family(std::move(name), std::move(help), type);
  for (const model::TargetStatus* target : targets) {
    family.add(target_labels(*target), static_cast<double>(value(*target)));
  }
  return family.take();
}

MetricFamily per_label(std::string name, std::string help, const std::string& label_name,
                       const std::vector<model::LabelledCount>& counts) {
  Family family(std::move(name), std::move(help), MetricType::Counter);
  for (const model::LabelledCount& count : counts) {
    family.add({label(label_name, count.label)}, static_cast<double>(count.count));
  }
  return family.take();
}

MetricFamily per_kind(std::string name, std::string help, const Targets& targets,
                      std::array<double, model::kAllocationKinds> model::TargetStatus::*values) {
  Family family(std::move(name), std::move(help), MetricType::Counter);
  for (const model::TargetStatus* target : targets) {
    for (size_t kind = 0; kind < model::kAllocationKinds; ++kind) {
      family.add(with(target_labels(*target), label("kind", model::kAllocationKindNames[kind])),
                 (target->*values)[kind]);
    }
  }
  return family.take();
}

// Two names that would become one by cutting or cleaning stay two by a digest of the whole (FNV-1a): their sum would be a
// counter that falls when one of them is no longer among the top ones.
std::string function_label(const std::string& name) {
  std::string clean = clean_utf8(name, kMaxLabelBytes);
  if (clean == name) return clean;
  uint32_t digest = 2166136261U;
  for (const char c : name) digest = (digest ^ static_cast<uint8_t>(c)) * 16777619U;
  std::array<char, 10> suffix{};
  std::snprintf(suffix.data(), suffix.size(), "#%08x", static_cast<unsigned>(digest));
  return clean_utf8(name, kMaxLabelBytes - suffix.size() + 1) + suffix.data();
}

MetricFamily per_site(std::string name, std::string help, MetricType type, const Targets& targets,
                      double model::TargetStatus::Site::*value) {
  Family family(std::move(name), std::move(help), type);
  for (const model::TargetStatus* target : targets) {
    // A program may have a function "other".
    std::map<std::string, double> sites = {{"other", 0}};
    for (const auto& site : target->top_sites) sites[function_label(site.function)] += site.*value;
    for (const auto& [function, sum] : sites) {
      family.add(with(target_labels(*target), {"function", function}), sum);
    }
  }
  return family.take();
}

MetricFamily single(std::string name, std::string help, MetricType type, double value) {
  Family family(std::move(name), std::move(help), type);
  family.add({}, value);
  return family.take();
}

MetricFamily gc_pauses(const Targets& targets) {
  Family family(
      "goheapd_gc_pause_seconds",
      "Times for which the target's garbage collector stopped it; without probes, one sum for each cycle.",
      MetricType::Histogram);
  for (const model::TargetStatus* target : targets) {
    ClientMetric::Histogram histogram;
    histogram.sample_count = target->gc_pause_buckets.back();
    histogram.sample_sum = target->gc_pause_sum_seconds;
    for (size_t i = 0; i < model::kGcPauseBoundsSeconds.size(); ++i) {
      histogram.bucket.push_back({target->gc_pause_buckets[i], model::kGcPauseBoundsSeconds[i]});
    }
    histogram.bucket.push_back({histogram.sample_count, std::numeric_limits<double>::infinity()});
    family.add_histogram(target_labels(*target), std::move(histogram));
  }
  return family.take();
}

template <typename Value>
MetricFamily stops(std::string name, std::string help, const Targets& targets, Value value) {
  Family family(std::move(name), std::move(help), MetricType::Counter);
  for (const model::TargetStatus* target : targets) {
    for (const model::StopTotal& total : target->stops) {
      family.add(with(target_labels(*target), label("reason", total.reason)),
                 static_cast<double>(value(total)));
    }
  }
  return family.take();
}

MetricFamily gc_cpu(const Targets& targets) {
  Family family(
      "goheapd_gc_cpu_seconds_total",
      "CPU time that the target's garbage collector took in cycles that were seen, by what it did: "
      "assist (by those who allocate), dedicated, fractional and idle workers, pause (all stopped).",
      MetricType::Counter);
  for (const model::TargetStatus* target : targets) {
    for (size_t kind = 0; kind < model::kGcCpuKinds.size(); ++kind) {
      family.add(with(target_labels(*target), label("kind", model::kGcCpuKinds[kind])),
                 target->gc_totals.cpu_seconds[kind]);
    }
  }
  return family.take();
}

MetricFamily heap_bytes(const Targets& targets) {
  Family family(
      "goheapd_heap_bytes",
      "The target's heap as its last garbage collection left it: marked (found alive), live (marked and "
      "allocated since), before (when the collection began), trigger and goal (where the next is to begin "
      "and to end), in_use (spans with objects), stacks and globals (scanned), limit (GOMEMLIMIT; 2^63-1 is "
      "none).",
      MetricType::Gauge);
  for (const model::TargetStatus* target : targets) {
    if (!target->last_gc) continue;
    const model::GcCycle& gc = *target->last_gc;
    for (const auto& [kind, bytes] :
         {std::pair("before", gc.heap_before), std::pair("marked", gc.heap_marked),
          std::pair("live", gc.heap_live), std::pair("trigger", gc.next_trigger),
          std::pair("goal", gc.next_goal), std::pair("in_use", gc.heap_in_use),
          std::pair("stacks", gc.stack_bytes), std::pair("globals", gc.global_bytes),
          std::pair("limit", static_cast<uint64_t>(gc.memory_limit))}) {
      family.add(with(target_labels(*target), label("kind", kind)), static_cast<double>(bytes));
    }
  }
  return family.take();
}

MetricFamily target_info(const Targets& targets) {
  Family family("goheapd_target_info", "What is known of an attached process; always 1.", MetricType::Gauge);
  for (const model::TargetStatus* target : targets) {
    Labels labels = target_labels(*target);
    labels.push_back(label("exe", target->exe));
    labels.push_back(label("go_version", target->go_version));
    labels.push_back(label("module", target->module));
    labels.push_back(label("mode", model::name_of(target->mode)));
    labels.push_back(label("source", target->source));
    if (target->pod_facts) {
      const model::Pod& pod = *target->pod_facts;
      if (!pod.node.empty()) labels.push_back(label("node", pod.node));
      if (!pod.workload.name.empty()) {
        labels.push_back(label("workload_kind", pod.workload.kind));
        labels.push_back(label("workload", pod.workload.name));
      }
    }
    family.add(std::move(labels), 1);
  }
  return family.take();
}

MetricFamily target_levels(const Targets& targets) {
  Family family(
      "goheapd_target_level",
      "The level at which an attached process is watched: exact, sampled, sparse (a sixteenth of the "
      "samples), slices (samples now and then), buckets (the runtime's records only), gc (garbage "
      "collections only) or none (no probes); "
      "always 1.",
      MetricType::Gauge);
  for (const model::TargetStatus* target : targets) {
    if (!target->level.empty()) family.add(with(target_labels(*target), label("level", target->level)), 1);
  }
  return family.take();
}

void add_kubernetes(const model::KubernetesStatus& status, std::vector<MetricFamily>& families) {
  families.push_back(single("goheapd_kubernetes_pods", "Pods of this node whose names are known.",
                            MetricType::Gauge, static_cast<double>(status.pods)));
  families.push_back(single("goheapd_kubernetes_pods_dropped_total",
                            "Pods that were not kept because there are too many.", MetricType::Counter,
                            static_cast<double>(status.dropped_pods)));
  families.push_back(single("goheapd_kubernetes_api_up",
                            "Whether the API server's last answer was good, 0 or 1; 0 where it is not asked.",
                            MetricType::Gauge, status.api_current ? 1 : 0));
  families.push_back(single("goheapd_kubernetes_lists_total",
                            "Lists of this node's pods that were asked for.", MetricType::Counter,
                            static_cast<double>(status.lists)));
  families.push_back(single("goheapd_kubernetes_watches_total",
                            "Watches of this node's pods that were begun.", MetricType::Counter,
                            static_cast<double>(status.watches)));
  families.push_back(per_label("goheapd_kubernetes_failures_total",
                               "Lists and watches that failed, by reason.", "reason", status.failures));
}

MetricFamily targets_by_state(const std::vector<model::TargetStatus>& targets) {
  Family family("goheapd_targets", "Processes that goheapd knows, by state.", MetricType::Gauge);
  for (size_t state = 0; state < model::kTargetStateNames.size(); ++state) {
    const auto count = std::count_if(targets.begin(), targets.end(), [&](const auto& target) {
      return static_cast<size_t>(target.state) == state;
    });
    family.add({label("state", model::kTargetStateNames[state])}, static_cast<double>(count));
  }
  return family.take();
}

}  // namespace

std::vector<MetricFamily> TargetCollector::Collect() const {
  using Target = model::TargetStatus;
  const auto health = source_.health();
  const auto all = source_.targets();
  const auto status = source_.status();
  const auto attached = static_cast<size_t>(std::count_if(
      all.begin(), all.end(), [](const auto& t) { return t.state == model::TargetState::attached; }));
  const Targets targets = targets_with_series(all);
  Targets with_live;
  std::copy_if(targets.begin(), targets.end(), std::back_inserter(with_live),
               [](const auto* t) { return t->has_live; });
  Targets of_spans;
  std::copy_if(targets.begin(), targets.end(), std::back_inserter(of_spans),
               [](const auto* t) { return t->verdicts.has_value(); });
  Targets with_limit;
  std::copy_if(targets.begin(), targets.end(), std::back_inserter(with_limit),
               [](const auto* t) { return t->overhead_limit.has_value(); });

  Family build("goheapd_build_info", "The version of goheapd and of its libbpf; always 1.",
               MetricType::Gauge);
  build.add({label("version", status.version), label("libbpf", status.libbpf_version)}, 1);
  std::vector<MetricFamily> families;
  families.push_back(build.take());
  families.push_back(single("goheapd_main_loop_age_seconds",
                            "How long ago goheapd's main loop last began a round, which it does many times a "
                            "second; above 15 it hangs, and nothing is told of targets.",
                            MetricType::Gauge, health.loop_age_seconds));
  if (health.unhealthy) return families;
  families.push_back(targets_by_state(all));
  families.push_back(single("goheapd_targets_without_series",
                            "Attached processes that have no series of their own because there are too many.",
                            MetricType::Gauge, static_cast<double>(attached - targets.size())));
  families.push_back(single("goheapd_processes_denied",
                            "Processes that goheapd may not look at, mostly for want of CAP_SYS_PTRACE: Go "
                            "programs among them are not found.",
                            MetricType::Gauge, static_cast<double>(status.denied_processes)));
  families.push_back(single("goheapd_overhead_budget_ratio",
                            "The share of a target's CPU time that probes may take, as configured, 0 to 1.",
                            MetricType::Gauge, status.overhead_budget_ratio));
  families.push_back(single("goheapd_config_last_reload_successful",
                            "Whether the last attempt to load the configuration succeeded, 0 or 1.",
                            MetricType::Gauge, status.config_loaded ? 1 : 0));
  families.push_back(single("goheapd_config_last_reload_success_timestamp_seconds",
                            "When the configuration was last loaded, in seconds since 1970.",
                            MetricType::Gauge, static_cast<double>(status.config_loaded_wall_ns) / 1e9));
  families.push_back(single(
      "goheapd_target_writes_total",
      "Times that MemProfileRate was written into a target, which only --allow-runtime-sampling permits.",
      MetricType::Counter, static_cast<double>(status.target_writes)));
  families.push_back(
      per_label("goheapd_runtime_sampling_refused_total",
                "Times that --allow-runtime-sampling permits to switch a sampler on, but it was not "
                "switched on or was switched off for good, by reason.",
                "reason", status.refused_samplers));
  if (status.kubernetes) add_kubernetes(*status.kubernetes, families);
  families.push_back(target_info(targets));
  families.push_back(target_levels(targets));
  families.push_back(
      per_target("goheapd_sampled_ratio",
                 "Share of the time at its present level in which samples of the target are "
                 "taken, 0 to 1. Of source spans below 1 at level slices and 0 at the levels gc and "
                 "none; what source runtime samples is read at any level.",
                 MetricType::Gauge, targets, [](const Target& t) { return t.sampled_share; }));
  families.push_back(per_label("goheapd_events_total", "Events taken in, by kind.", "kind", status.events));
  families.push_back(per_label("goheapd_lost_events_total",
                               "Events, stacks and readings that could not be kept, by reason.", "reason",
                               status.lost_events));
  families.push_back(per_target("goheapd_probe_hits_total", "Times that the target ran into a probe.",
                                MetricType::Counter, targets, [](const Target& t) { return t.probe_hits; }));
  families.push_back(per_target("goheapd_probe_cpu_seconds_total",
                                "Estimated CPU time that the probes have taken of the target.",
                                MetricType::Counter, targets,
                                [](const Target& t) { return static_cast<double>(t.probe_cpu_ns) / 1e9; }));
  families.push_back(per_target(
      "goheapd_overhead_ratio", "Estimated share of the target's CPU time that the probes take, 0 to 1.",
      MetricType::Gauge, targets, [](const Target& t) { return t.overhead_ratio; }));
  families.push_back(per_target("goheapd_overhead_limit_ratio",
                                "Share of the target's CPU time that its probes may take, 0 to 1: the "
                                "budget, or more of a program that "
                                "uses little of a CPU.",
                                MetricType::Gauge, with_limit,
                                [](const Target& t) { return *t.overhead_limit; }));
  families.push_back(
      per_target("goheapd_mode_changes_total", "Times that mode auto has moved the target to another mode.",
                 MetricType::Counter, targets, [](const Target& t) { return t.mode_changes; }));
  families.push_back(per_kind("goheapd_alloc_bytes_total",
                              "Bytes that the target allocated since it was attached, by kind of allocation.",
                              targets, &Target::alloc_bytes));
  families.push_back(
      per_kind("goheapd_alloc_objects_total",
               "Objects that the target allocated since it was attached, by kind of allocation.", targets,
               &Target::alloc_objects));
  families.push_back(per_target("goheapd_live_bytes",
                                "Estimated bytes of objects that were not freed yet; garbage that is still "
                                "to be collected is among them.",
                                MetricType::Gauge, with_live, [](const Target& t) { return t.live_bytes; }));
  families.push_back(per_target("goheapd_live_objects",
                                "Estimated number of objects that were not freed yet; garbage that is still "
                                "to be collected is among them.",
                                MetricType::Gauge, with_live,
                                [](const Target& t) { return t.live_objects; }));
  families.push_back(per_target(
      "goheapd_spans_missed_cycles_total",
      "Garbage collections of a target of source spans that goheapd did not get to see before the next one.",
      MetricType::Counter, of_spans, [](const Target& t) { return t.verdicts->missed_cycles; }));
  families.push_back(per_target(
      "goheapd_spans_lost_verdicts_total",
      "Times that whether a sampled object of source spans has outlived a garbage collection was not seen; "
      "until the next one it is taken to live.",
      MetricType::Counter, of_spans, [](const Target& t) { return t.verdicts->lost_verdicts; }));
  families.push_back(per_target(
      "goheapd_spans_inuse_reliable",
      "Whether what source spans shows as in use can be relied on, 0 or 1: 0 when of late more than 1 % of "
      "the verdicts on sampled objects were lost.",
      MetricType::Gauge, of_spans, [](const Target& t) { return t.verdicts->inuse_reliable ? 1 : 0; }));
  families.push_back(
      per_site("goheapd_site_live_bytes",
               "Estimated bytes of live objects by the function that allocated them; the top ones.",
               MetricType::Gauge, with_live, &Target::Site::live_bytes));
  families.push_back(per_site("goheapd_site_alloc_bytes_total",
                              "Bytes allocated by the function that allocated them; the top ones.",
                              MetricType::Counter, targets, &Target::Site::alloc_bytes));
  families.push_back(
      per_target("goheapd_settled_objects_total",
                 "Objects on which probe events and the runtime's own records differed; settled in "
                 "favour of the records.",
                 MetricType::Counter, targets, [](const Target& t) { return t.settled_objects; }));
  families.push_back(per_target("goheapd_gc_cycles_total", "Completed garbage collection cycles.",
                                MetricType::Counter, targets, [](const Target& t) { return t.gc_cycles; }));
  families.push_back(
      per_target("goheapd_gc_missed_cycles_total",
                 "Garbage collection cycles of which only the number is known, since their events were lost.",
                 MetricType::Counter, targets, [](const Target& t) { return t.gc_totals.missed; }));
  families.push_back(gc_pauses(targets));
  families.push_back(
      stops("goheapd_stops_total",
            "Times that all goroutines of the target were seen stopped, by the runtime's own reason.",
            targets, [](const model::StopTotal& total) { return total.stops; }));
  families.push_back(stops("goheapd_stop_seconds_total",
                           "How long all goroutines of the target were seen stopped, by the runtime's own "
                           "reason, from the request to stop until they were let go.",
                           targets, [](const model::StopTotal& total) { return total.seconds; }));
  families.push_back(gc_cpu(targets));
  families.push_back(heap_bytes(targets));
  return families;
}

}  // namespace goheapd::exporters::prometheus_text

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "exporters/go_metrics/collectors.h"
#include "exporters/prometheus/single_family.h"

namespace goheapd::exporters::go_metrics {
namespace {

using model::MemStatsReading;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using prometheus_text::single_family;

// What the runtime itself counts without synchronisation cannot be exact from outside either.
constexpr const char* kRacy = ". Read from outside while the program runs: may be a moment's changes off.";

struct MemStatsMetric {
  const char* name;
  MetricType type;
  bool racy;
  double (*value)(const MemStatsReading&);
  const char* help;
};

double number(uint64_t value) { return static_cast<double>(value); }

constexpr MetricType kGauge = MetricType::Gauge;
constexpr MetricType kCounter = MetricType::Counter;
using M = MemStatsReading;

constexpr MemStatsMetric kMetrics[] = {
    {"go_gc_gogc_percent", kGauge, false,
     // The runtime's -1 ("off") comes out of runtime/metrics as an unsigned number.
     [](const M& m) { return number(static_cast<uint64_t>(int64_t{m.gc_percent})); },
     "Heap size target percentage configured by the user, otherwise 100. This value is set by the GOGC "
     "environment variable, and the runtime/debug.SetGCPercent function. Sourced from /gc/gogc:percent."},
    {"go_gc_gomemlimit_bytes", kGauge, false, [](const M& m) { return static_cast<double>(m.memory_limit); },
     "Go runtime memory limit configured by the user, otherwise math.MaxInt64. This value is set by the "
     "GOMEMLIMIT environment variable, and the runtime/debug.SetMemoryLimit function. Sourced from "
     "/gc/gomemlimit:bytes."},
    {"go_goroutines", kGauge, true, [](const M& m) { return number(m.goroutines); },
     "Number of goroutines that currently exist."},
    {"go_memstats_alloc_bytes", kGauge, true, [](const M& m) { return number(m.heap_alloc); },
     "Number of bytes allocated in heap and currently in use. Equals to /memory/classes/heap/objects:bytes."},
    {"go_memstats_alloc_bytes_total", kCounter, true, [](const M& m) { return number(m.total_alloc); },
     "Total number of bytes allocated in heap until now, even if released already. Equals to "
     "/gc/heap/allocs:bytes."},
    {"go_memstats_buck_hash_sys_bytes", kGauge, false, [](const M& m) { return number(m.buck_hash_sys); },
     "Number of bytes used by the profiling bucket hash table. Equals to "
     "/memory/classes/profiling/buckets:bytes."},
    {"go_memstats_frees_total", kCounter, true, [](const M& m) { return number(m.frees); },
     "Total number of heap objects frees. Equals to /gc/heap/frees:objects + /gc/heap/tiny/allocs:objects."},
    {"go_memstats_gc_sys_bytes", kGauge, true, [](const M& m) { return number(m.gc_sys); },
     "Number of bytes used for garbage collection system metadata. Equals to "
     "/memory/classes/metadata/other:bytes."},
    {"go_memstats_heap_alloc_bytes", kGauge, true, [](const M& m) { return number(m.heap_alloc); },
     "Number of heap bytes allocated and currently in use, same as go_memstats_alloc_bytes. Equals to "
     "/memory/classes/heap/objects:bytes."},
    {"go_memstats_heap_idle_bytes", kGauge, true, [](const M& m) { return number(m.heap_idle); },
     "Number of heap bytes waiting to be used. Equals to /memory/classes/heap/released:bytes + "
     "/memory/classes/heap/free:bytes."},
    {"go_memstats_heap_inuse_bytes", kGauge, true, [](const M& m) { return number(m.heap_inuse); },
     "Number of heap bytes that are in use. Equals to /memory/classes/heap/objects:bytes + "
     "/memory/classes/heap/unused:bytes"},
    {"go_memstats_heap_objects", kGauge, true, [](const M& m) { return number(m.mallocs - m.frees); },
     "Number of currently allocated objects. Equals to /gc/heap/objects:objects."},
    {"go_memstats_heap_released_bytes", kGauge, true, [](const M& m) { return number(m.heap_released); },
     "Number of heap bytes released to OS. Equals to /memory/classes/heap/released:bytes."},
    {"go_memstats_heap_sys_bytes", kGauge, true, [](const M& m) { return number(m.heap_sys); },
     "Number of heap bytes obtained from system. Equals to /memory/classes/heap/objects:bytes + "
     "/memory/classes/heap/unused:bytes + /memory/classes/heap/released:bytes + "
     "/memory/classes/heap/free:bytes."},
    {"go_memstats_last_gc_time_seconds", kGauge, false,
     [](const M& m) { return number(m.last_gc_unix_ns) / 1e9; },
     "Number of seconds since 1970 of last garbage collection."},
    {"go_memstats_mallocs_total", kCounter, true, [](const M& m) { return number(m.mallocs); },
     "Total number of heap objects allocated, both live and gc-ed. Semantically a counter version for "
     "go_memstats_heap_objects gauge. Equals to /gc/heap/allocs:objects + /gc/heap/tiny/allocs:objects."},
    {"go_memstats_mcache_inuse_bytes", kGauge, false, [](const M& m) { return number(m.mcache_inuse); },
     "Number of bytes in use by mcache structures. Equals to "
     "/memory/classes/metadata/mcache/inuse:bytes."},
    {"go_memstats_mcache_sys_bytes", kGauge, false, [](const M& m) { return number(m.mcache_sys); },
     "Number of bytes used for mcache structures obtained from system. Equals to "
     "/memory/classes/metadata/mcache/inuse:bytes + /memory/classes/metadata/mcache/free:bytes."},
    {"go_memstats_mspan_inuse_bytes", kGauge, true, [](const M& m) { return number(m.mspan_inuse); },
     "Number of bytes in use by mspan structures. Equals to /memory/classes/metadata/mspan/inuse:bytes."},
    {"go_memstats_mspan_sys_bytes", kGauge, false, [](const M& m) { return number(m.mspan_sys); },
     "Number of bytes used for mspan structures obtained from system. Equals to "
     "/memory/classes/metadata/mspan/inuse:bytes + /memory/classes/metadata/mspan/free:bytes."},
    {"go_memstats_next_gc_bytes", kGauge, true, [](const M& m) { return number(m.next_gc); },
     "Number of heap bytes when next garbage collection will take place. Equals to /gc/heap/goal:bytes."},
    {"go_memstats_other_sys_bytes", kGauge, false, [](const M& m) { return number(m.other_sys); },
     "Number of bytes used for other system allocations. Equals to /memory/classes/other:bytes."},
    {"go_memstats_stack_inuse_bytes", kGauge, true, [](const M& m) { return number(m.stack_inuse); },
     "Number of bytes obtained from system for stack allocator in non-CGO environments. Equals to "
     "/memory/classes/heap/stacks:bytes."},
    {"go_memstats_stack_sys_bytes", kGauge, true, [](const M& m) { return number(m.stack_sys); },
     "Number of bytes obtained from system for stack allocator. Equals to "
     "/memory/classes/heap/stacks:bytes + /memory/classes/os-stacks:bytes."},
    {"go_memstats_sys_bytes", kGauge, true, [](const M& m) { return number(m.sys); },
     "Number of bytes obtained from system. Equals to /memory/classes/total:byte."},
    {"go_sched_gomaxprocs_threads", kGauge, false,
     [](const M& m) { return static_cast<double>(m.max_procs); },
     "The current runtime.GOMAXPROCS setting, or the number of operating system threads that can execute "
     "user-level Go code simultaneously. Sourced from /sched/gomaxprocs:threads."},
    {"go_threads", kGauge, false, [](const M& m) { return number(m.threads); },
     "Number of OS threads created."},
};

// As debug.ReadGCStats cuts the sorted pauses into four parts:
// https://github.com/golang/go/blob/go1.24.4/src/runtime/debug/garbage.go#L63
MetricFamily gc_durations(const MemStatsReading& memory) {
  std::vector<uint64_t> sorted = memory.pauses_ns;
  std::sort(sorted.begin(), sorted.end());
  ClientMetric metric;
  constexpr size_t kParts = 4;
  for (size_t i = 0; i <= kParts; ++i) {
    double seconds = 0;
    if (!sorted.empty()) {
      seconds = number(sorted[i == kParts ? sorted.size() - 1 : sorted.size() * i / kParts]) / 1e9;
    }
    metric.summary.quantile.push_back({static_cast<double>(i) / kParts, seconds});
  }
  metric.summary.sample_count = memory.num_gc;
  metric.summary.sample_sum = number(memory.pause_total_ns) / 1e9;
  MetricFamily family;
  family.name = "go_gc_duration_seconds";
  family.help = "A summary of the wall-time pause (stop-the-world) duration in garbage collection cycles.";
  family.type = MetricType::Summary;
  family.metric.push_back(std::move(metric));
  return family;
}

}  // namespace

std::vector<MetricFamily> go_families(const model::ProgramStatistics& statistics) {
  std::vector<MetricFamily> families;
  families.push_back(gc_durations(statistics.memory));
  for (const MemStatsMetric& metric : kMetrics) {
    std::string help = metric.help;
    if (metric.racy) {
      if (help.back() == '.') help.pop_back();
      help += kRacy;
    }
    families.push_back(
        single_family(metric.name, std::move(help), metric.type, metric.value(statistics.memory)));
  }
  MetricFamily info = single_family("go_info", "Information about the Go environment.", kGauge, 1);
  info.metric.front().label.push_back({"version", statistics.go_version});
  families.push_back(std::move(info));
  std::sort(families.begin(), families.end(),
            [](const MetricFamily& a, const MetricFamily& b) { return a.name < b.name; });
  return families;
}

}  // namespace goheapd::exporters::go_metrics

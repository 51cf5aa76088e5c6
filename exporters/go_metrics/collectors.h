// The metrics of client_golang's collectors, under their names, types, units and help texts, so that what was made for
// them works: https://github.com/prometheus/client_golang/blob/v1.23.0/prometheus/go_collector.go and process_collector.go.
#pragma once

#include <prometheus/metric_family.h>

#include <vector>

#include "daemon/model/memory_reading.h"

namespace goheapd::exporters::go_metrics {

// go_info, go_goroutines, go_threads, go_gc_*, go_sched_*, go_memstats_*; ordered by name.
std::vector<prometheus::MetricFamily> go_families(const model::ProgramStatistics& statistics);

// process_*, without those of the network, which are a namespace's rather than a process's. Ordered by name.
std::vector<prometheus::MetricFamily> process_families(const model::ProcessUsage& usage);

}  // namespace goheapd::exporters::go_metrics

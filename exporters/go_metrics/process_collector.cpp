#include <optional>
#include <utility>

#include "exporters/go_metrics/collectors.h"
#include "exporters/prometheus/single_family.h"

namespace goheapd::exporters::go_metrics {

std::vector<prometheus::MetricFamily> process_families(const model::ProcessUsage& usage) {
  using prometheus::MetricType;
  std::vector<prometheus::MetricFamily> families;
  const auto add = [&](const char* name, const char* help, double value,
                       MetricType type = MetricType::Gauge) {
    families.push_back(prometheus_text::single_family(name, help, type, value));
  };
  const auto add_known = [&](const char* name, const char* help, const std::optional<uint64_t>& value) {
    if (value) add(name, help, static_cast<double>(*value));
  };
  add("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", usage.cpu_seconds,
      MetricType::Counter);
  add_known("process_max_fds", "Maximum number of open file descriptors.", usage.max_fds);
  add_known("process_open_fds", "Number of open file descriptors.", usage.open_fds);
  add("process_resident_memory_bytes", "Resident memory size in bytes.",
      static_cast<double>(usage.resident_bytes));
  add("process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
      usage.start_seconds);
  add("process_virtual_memory_bytes", "Virtual memory size in bytes.",
      static_cast<double>(usage.virtual_bytes));
  add_known("process_virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes.",
            usage.max_virtual_bytes);
  return families;
}

}  // namespace goheapd::exporters::go_metrics

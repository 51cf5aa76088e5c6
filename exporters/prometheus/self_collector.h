// The standard process_* metrics, of the daemon itself (prometheus-cpp has none).
// https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

namespace goheapd::exporters::prometheus_text {

class SelfCollector : public prometheus::Collectable {
 public:
  // A value that the kernel does not tell (no /proc) has no family.
  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace goheapd::exporters::prometheus_text

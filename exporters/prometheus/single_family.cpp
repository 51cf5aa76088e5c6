#include "exporters/prometheus/single_family.h"

#include <utility>

namespace goheapd::exporters::prometheus_text {

using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily single_family(std::string name, std::string help, MetricType type, double value) {
  prometheus::ClientMetric metric;
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  family.metric.push_back(std::move(metric));
  return family;
}

}  // namespace goheapd::exporters::prometheus_text

#pragma once

#include <prometheus/metric_family.h>

#include <string>

namespace goheapd::exporters::prometheus_text {

// A family of one series without labels; a counter or a gauge.
prometheus::MetricFamily single_family(std::string name, std::string help, prometheus::MetricType type,
                                       double value);

}  // namespace goheapd::exporters::prometheus_text

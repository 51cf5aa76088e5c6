#pragma once

#include <prometheus/metric_family.h>

#include <vector>

#include "exporters/http/message.h"
#include "exporters/prometheus/open_metrics.h"

namespace goheapd::exporters::prometheus_text {

// The families in the format that the request prefers.
http::Response metrics_response(const http::Request& request,
                                const std::vector<prometheus::MetricFamily>& families);
http::Response metrics_response(Format format, const std::vector<prometheus::MetricFamily>& families);

}  // namespace goheapd::exporters::prometheus_text

// OpenMetrics 1.0.0 text, which prometheus-cpp does not have.
// https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
#pragma once

#include <prometheus/serializer.h>

#include <iosfwd>
#include <string_view>
#include <vector>

namespace goheapd::exporters::prometheus_text {

// Counters, gauges, histograms and summaries; other types do not occur here and are written as `unknown`.
class OpenMetricsSerializer : public prometheus::Serializer {
 public:
  using Serializer::Serialize;
  void Serialize(std::ostream& out, const std::vector<prometheus::MetricFamily>& families) const override;
};

enum class Format { text, open_metrics };

// What a scraper with this Accept header gets: OpenMetrics where it is asked for by name and not liked less than
// text; text in every other case.
Format negotiate(std::string_view accept);

std::string_view content_type_of(Format format);

}  // namespace goheapd::exporters::prometheus_text

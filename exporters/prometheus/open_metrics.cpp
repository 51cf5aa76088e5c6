#include "exporters/prometheus/open_metrics.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <ostream>
#include <string>

#include "exporters/http/field_value.h"

namespace goheapd::exporters::prometheus_text {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::array<char, 32> text{};
  const bool integral = value == std::trunc(value) && std::fabs(value) < 9e15;
  const auto format = integral ? std::chars_format::fixed : std::chars_format::general;
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value, format).ptr};
}

// Bucket bounds are floats in canonical form: "1.0", not "1".
std::string bound(double value) {
  std::string text = number(value);
  if (std::isfinite(value) && text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

void write_escaped(std::ostream& out, std::string_view text) {
  for (const char c : text) {
    if (c == '\\' || c == '"') {
      out << '\\' << c;
    } else if (c == '\n') {
      out << "\\n";
    } else {
      out << c;
    }
  }
}

void write_sample(std::ostream& out, std::string_view name, std::string_view suffix,
                  const std::vector<ClientMetric::Label>& labels, const std::string& value,
                  const std::string& upper_bound = {}) {
  out << name << suffix;
  const char* separator = "{";
  for (const auto& label : labels) {
    out << separator << label.name << "=\"";
    write_escaped(out, label.value);
    out << '"';
    separator = ",";
  }
  if (!upper_bound.empty()) {
    out << separator << "le=\"" << upper_bound << '"';
    separator = ",";
  }
  if (*separator == ',') out << '}';
  out << ' ' << value << '\n';
}

void write_metric(std::ostream& out, std::string_view name, MetricType type, const ClientMetric& metric) {
  switch (type) {
    case MetricType::Counter:
      write_sample(out, name, "_total", metric.label, number(metric.counter.value));
      break;
    case MetricType::Gauge:
      write_sample(out, name, "", metric.label, number(metric.gauge.value));
      break;
    case MetricType::Histogram: {
      const ClientMetric::Histogram& histogram = metric.histogram;
      for (const auto& bucket : histogram.bucket) {
        write_sample(out, name, "_bucket", metric.label, std::to_string(bucket.cumulative_count),
                     bound(bucket.upper_bound));
      }
      if (histogram.bucket.empty() || !std::isinf(histogram.bucket.back().upper_bound)) {
        write_sample(out, name, "_bucket", metric.label, std::to_string(histogram.sample_count), "+Inf");
      }
      write_sample(out, name, "_count", metric.label, std::to_string(histogram.sample_count));
      write_sample(out, name, "_sum", metric.label, number(histogram.sample_sum));
      break;
    }
    case MetricType::Summary: {
      const ClientMetric::Summary& summary = metric.summary;
      for (const auto& quantile : summary.quantile) {
        auto labels = metric.label;
        labels.push_back({"quantile", bound(quantile.quantile)});
        write_sample(out, name, "", labels, number(quantile.value));
      }
      write_sample(out, name, "_count", metric.label, std::to_string(summary.sample_count));
      write_sample(out, name, "_sum", metric.label, number(summary.sample_sum));
      break;
    }
    default:
      write_sample(out, name, "", metric.label, number(metric.untyped.value));
      break;
  }
}

std::string_view type_name(MetricType type) {
  switch (type) {
    case MetricType::Counter:
      return "counter";
    case MetricType::Gauge:
      return "gauge";
    case MetricType::Histogram:
      return "histogram";
    case MetricType::Summary:
      return "summary";
    default:
      return "unknown";
  }
}

}  // namespace

void OpenMetricsSerializer::Serialize(std::ostream& out, const std::vector<MetricFamily>& families) const {
  for (const MetricFamily& family : families) {
    std::string_view name = family.name;
    // A counter's family has the name without the suffix that its samples get back.
    if (family.type == MetricType::Counter && name.ends_with("_total")) name.remove_suffix(6);
    out << "# TYPE " << name << ' ' << type_name(family.type) << "\n# HELP " << name << ' ';
    write_escaped(out, family.help);
    out << '\n';
    for (const ClientMetric& metric : family.metric) write_metric(out, name, family.type, metric);
  }
  out << "# EOF\n";
}

Format negotiate(std::string_view accept) {
  double open_metrics = 0;
  double text = 0;
  for (const http::Preference& preference : http::preferences(accept)) {
    if (preference.name == "application/openmetrics-text") {
      open_metrics = std::max(open_metrics, preference.quality);
    } else if (preference.name == "text/plain" || preference.name == "text/*") {
      text = std::max(text, preference.quality);
    }
  }
  return open_metrics > 0 && open_metrics >= text ? Format::open_metrics : Format::text;
}

std::string_view content_type_of(Format format) {
  return format == Format::open_metrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                        : "text/plain; version=0.0.4; charset=utf-8";
}

}  // namespace goheapd::exporters::prometheus_text

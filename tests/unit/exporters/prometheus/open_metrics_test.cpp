#include "exporters/prometheus/open_metrics.h"

#include <gtest/gtest.h>

#include <limits>

namespace goheapd::exporters::prometheus_text {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

std::string serialize(const std::vector<MetricFamily>& families) {
  return OpenMetricsSerializer().Serialize(families);
}

MetricFamily gauge(double value) {
  MetricFamily family{"g", "h", MetricType::Gauge, {}};
  family.metric.emplace_back().gauge.value = value;
  return family;
}

TEST(OpenMetrics, EmptyAnswerStillEnds) { EXPECT_EQ(serialize({}), "# EOF\n"); }

TEST(OpenMetrics, CountersHaveTheirSuffixOnSamplesOnly) {
  MetricFamily family{"x_total", "two\nlines \\ \"quoted\"", MetricType::Counter, {}};
  family.metric.emplace_back().counter.value = 3;
  family.metric.back().label = {{"a", "b\"c\\d\ne"}, {"f", ""}};
  EXPECT_EQ(serialize({family}),
            "# TYPE x counter\n# HELP x two\\nlines \\\\ \\\"quoted\\\"\n"
            "x_total{a=\"b\\\"c\\\\d\\ne\",f=\"\"} 3\n# EOF\n");
}

TEST(OpenMetrics, NumbersKeepTheirValue) {
  auto value_of = [](double value) {
    const std::string text = serialize({gauge(value)});
    return text.substr(text.find("\ng ") + 3, text.find("\n# EOF") - text.find("\ng ") - 3);
  };
  EXPECT_EQ(value_of(0), "0");
  EXPECT_EQ(value_of(123456789012), "123456789012");
  EXPECT_EQ(value_of(0.1), "0.1");
  EXPECT_EQ(value_of(-2.5), "-2.5");
  EXPECT_EQ(value_of(std::numeric_limits<double>::infinity()), "+Inf");
  EXPECT_EQ(value_of(-std::numeric_limits<double>::infinity()), "-Inf");
  EXPECT_EQ(value_of(std::numeric_limits<double>::quiet_NaN()), "NaN");
  EXPECT_EQ(std::stod(value_of(1.0 / 3)), 1.0 / 3);
  EXPECT_EQ(std::stod(value_of(1e300)), 1e300);
}

TEST(OpenMetrics, HistogramsEndWithInfinityAndHaveCanonicalBounds) {
  MetricFamily family{"h", "help", MetricType::Histogram, {}};
  ClientMetric::Histogram& histogram = family.metric.emplace_back().histogram;
  histogram = {7, 1.5, {{1, 5e-6}, {2, 1e-4}, {3, 1}, {4, 2.5}}};
  EXPECT_EQ(serialize({family}),
            "# TYPE h histogram\n# HELP h help\nh_bucket{le=\"5e-06\"} 1\nh_bucket{le=\"0.0001\"} 2\n"
            "h_bucket{le=\"1.0\"} 3\nh_bucket{le=\"2.5\"} 4\nh_bucket{le=\"+Inf\"} 7\nh_count 7\nh_sum "
            "1.5\n# EOF\n");
}

TEST(OpenMetrics, ScrapersGetWhatTheyAskFor) {
  EXPECT_EQ(negotiate(""), Format::text);
  EXPECT_EQ(negotiate("*/*"), Format::text);
  EXPECT_EQ(negotiate("text/html,application/xhtml+xml,*/*;q=0.8"), Format::text);
  EXPECT_EQ(negotiate("text/plain;version=0.0.4"), Format::text);
  EXPECT_EQ(negotiate("application/openmetrics-text"), Format::open_metrics);
  // Prometheus 2.42 and 3.5.
  EXPECT_EQ(
      negotiate(
          "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
          "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"),
      Format::open_metrics);
  EXPECT_EQ(negotiate("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
                      "text/plain;version=0.0.4;q=0.4, */*;q=0.2"),
            Format::open_metrics);
  EXPECT_EQ(negotiate("application/openmetrics-text;q=0.3, text/plain;q=0.9"), Format::text);
  EXPECT_EQ(negotiate("application/openmetrics-text; q=0"), Format::text);
  EXPECT_EQ(negotiate(",;,;q=,application/openmetrics-text;q"), Format::open_metrics);
}

}  // namespace
}  // namespace goheapd::exporters::prometheus_text

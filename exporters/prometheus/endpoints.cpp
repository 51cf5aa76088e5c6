#include "exporters/prometheus/endpoints.h"

#include <array>
#include <atomic>
#include <chrono>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "exporters/prometheus/answer.h"
#include "exporters/prometheus/self_collector.h"
#include "exporters/prometheus/single_family.h"
#include "exporters/prometheus/target_collector.h"

namespace goheapd::exporters::prometheus_text {
namespace {

// Nothing in it is fresher than the source's figures are.
constexpr std::chrono::milliseconds kSharedFor{100};

void add_web_config(const http::WebConfigStatus& status, std::vector<prometheus::MetricFamily>& families) {
  families.push_back(single_family("goheapd_web_config_last_load_successful",
                                   "Whether the web config file was taken over when it was last read, 0 or "
                                   "1; if not, the last good one is in force.",
                                   prometheus::MetricType::Gauge, status.taken_over ? 1 : 0));
  if (!status.certificate) return;
  families.push_back(single_family(
      "goheapd_web_certificate_not_before_timestamp_seconds",
      "When the certificate that goheapd serves TLS with begins to be valid, in seconds since 1970.",
      prometheus::MetricType::Gauge, static_cast<double>(status.certificate->begin_wall_s)));
  families.push_back(single_family(
      "goheapd_web_certificate_not_after_timestamp_seconds",
      "When the certificate that goheapd serves TLS with ends to be valid, in seconds since 1970.",
      prometheus::MetricType::Gauge, static_cast<double>(status.certificate->end_wall_s)));
}

http::Response make_metrics(ProfileSource& source, const http::AskWebConfig& web_config, Format format) {
  const auto start = std::chrono::steady_clock::now();
  auto families = TargetCollector(source).Collect();
  auto own = SelfCollector().Collect();
  std::move(own.begin(), own.end(), std::back_inserter(families));

  if (const auto status = web_config ? web_config() : std::nullopt) add_web_config(*status, families);

  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  families.push_back(single_family("goheapd_scrape_duration_seconds",
                                   "How long it took to collect the values of this answer.",
                                   prometheus::MetricType::Gauge, taken.count()));

  return metrics_response(format, families);
}

// Those who ask at the same time get the same answer, made once.
class Metrics {
 public:
  Metrics(ProfileSource& source, http::AskWebConfig web_config)
      : source_(source), web_config_(std::move(web_config)) {}

  http::Response serve(const http::Request& request) {
    const Format format = negotiate(request.header("accept").value_or(""));
    Made& made = made_[format == Format::open_metrics ? 1 : 0];
    ++made.askers;
    const std::lock_guard lock(made.mutex);
    const auto now = std::chrono::steady_clock::now();
    if (!made.response || now - made.at >= kSharedFor) {
      made.response.reset();
      made.response = make_metrics(source_, web_config_, format);
      made.at = std::chrono::steady_clock::now();
    }
    // The last one takes it: it is large, and the next scrape comes in seconds.
    if (--made.askers == 0) return *std::exchange(made.response, std::nullopt);
    return *made.response;
  }

 private:
  struct Made {
    std::atomic<int> askers{0};
    std::mutex mutex;  // guards the rest
    std::optional<http::Response> response;
    std::chrono::steady_clock::time_point at;
  };
  ProfileSource& source_;
  const http::AskWebConfig web_config_;
  std::array<Made, 2> made_;  // one for each format
};

}  // namespace

void add_routes(http::Router& router, ProfileSource& source, http::AskWebConfig web_config) {
  // Whatever the query: like Prometheus' own clients it ignores `collect[]` and others that one scrape job sends to all of its
  // targets. It has no filter, so none can be misspelt.
  router.get("/metrics",
             router.limited(http::AnswerBudget::Kind::table,
                            [metrics = std::make_shared<Metrics>(source, std::move(web_config))](
                                const http::Request& request) { return metrics->serve(request); }));
}

}  // namespace goheapd::exporters::prometheus_text

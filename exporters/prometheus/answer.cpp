#include "exporters/prometheus/answer.h"

#include <prometheus/text_serializer.h>

namespace goheapd::exporters::prometheus_text {

http::Response metrics_response(const http::Request& request,
                                const std::vector<prometheus::MetricFamily>& families) {
  return metrics_response(negotiate(request.header("accept").value_or("")), families);
}

http::Response metrics_response(Format format, const std::vector<prometheus::MetricFamily>& families) {
  http::Response response;
  response.content_type = content_type_of(format);
  response.body = format == Format::open_metrics ? OpenMetricsSerializer().Serialize(families)
                                                 : prometheus::TextSerializer().Serialize(families);
  return response;
}

}  // namespace goheapd::exporters::prometheus_text

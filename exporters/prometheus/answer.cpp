#include "exporters/prometheus/answer.h"

#include <prometheus/text_serializer.h>

#include "exporters/prometheus/open_metrics.h"

namespace goheapd::exporters::prometheus_text {

http::Response metrics_response(const http::Request& request,
                                const std::vector<prometheus::MetricFamily>& families) {
  const Format format = negotiate(request.header("accept").value_or(""));
  http::Response response;
  response.content_type = content_type_of(format);
  response.body = format == Format::open_metrics ? OpenMetricsSerializer().Serialize(families)
                                                 : prometheus::TextSerializer().Serialize(families);
  return response;
}

}  // namespace goheapd::exporters::prometheus_text

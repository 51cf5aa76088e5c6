#include "exporters/http/content_coding.h"

#include <algorithm>
#include <cstddef>
#include <optional>

#include "daemon/base/gzip.h"
#include "exporters/http/field_value.h"

namespace goheapd::exporters::http {
namespace {

// One packet has no use for being smaller.
constexpr size_t kWorthPacking = 1400;

bool has(const Response& response, std::string_view name) {
  return std::any_of(response.headers.begin(), response.headers.end(),
                     [name](const auto& field) { return field.first == name; });
}

bool likes_gzip(std::string_view accept_encoding) {
  std::optional<double> gzip;
  std::optional<double> any;
  double identity = 0;  // taken, but whoever names others likes those better
  for (const Preference& preference : preferences(accept_encoding)) {
    if (preference.name == "gzip" || preference.name == "x-gzip") gzip = preference.quality;
    if (preference.name == "*") any = preference.quality;
    if (preference.name == "identity") identity = preference.quality;
  }
  const double quality = gzip.value_or(any.value_or(0));
  return quality > 0 && quality >= identity;
}

}  // namespace

void apply_content_coding(const Request& request, Response& response) {
  if (response.body.size() < kWorthPacking || response.content_type == "application/octet-stream") return;
  if (has(response, "Vary")) return;  // has been here
  response.headers.emplace_back("Vary", "Accept-Encoding");
  if (!likes_gzip(request.header("accept-encoding").value_or(""))) return;
  response.body = gzip(response.body);
  response.headers.emplace_back("Content-Encoding", "gzip");
}

}  // namespace goheapd::exporters::http

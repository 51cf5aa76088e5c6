#include "exporters/http/address.h"

#include <charconv>
#include <system_error>

namespace goheapd::exporters::http {

Expected<ListenAddress> parse_listen_address(std::string_view text) {
  static constexpr auto kShape = "listen address must be HOST:PORT, [IPV6]:PORT or :PORT";
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return fail(kShape, std::string(text));
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  ListenAddress address;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error != std::errc() || end != port.data() + port.size()) return fail(kShape, std::string(text));
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    if (host.empty()) return fail(kShape, std::string(text));
  } else if (host.find_first_of(":[]") != std::string_view::npos) {
    return fail(kShape, std::string(text));
  }
  address.host = host;
  return address;
}

}  // namespace goheapd::exporters::http

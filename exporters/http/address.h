// Listen addresses as users write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/base/expected.h"

namespace goheapd::exporters::http {

struct ListenAddress {
  std::string host;   // empty = every address of this host, IPv4 and IPv6
  uint16_t port = 0;  // 0 = the kernel chooses
};

// "127.0.0.1:9786", "[::1]:9786", "localhost:9786" or ":9786".
Expected<ListenAddress> parse_listen_address(std::string_view text);

}  // namespace goheapd::exporters::http

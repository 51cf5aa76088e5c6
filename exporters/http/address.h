// Listen addresses as users write them, and sockets that listen on them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/base/unique_fd.h"

namespace goheapd::exporters::http {

struct ListenAddress {
  std::string host;   // empty = every address of this host, IPv4 and IPv6
  uint16_t port = 0;  // 0 = the kernel chooses
};

// "127.0.0.1:9786", "[::1]:9786", "localhost:9786" or ":9786".
Expected<ListenAddress> parse_listen_address(std::string_view text);

// A non-blocking listening socket. Where the kernel has no IPv6, an empty host means every IPv4 address.
Expected<UniqueFd> listen_on(const ListenAddress& address);

// "127.0.0.1:9786" or "[::1]:9786", as the kernel bound the socket.
std::string bound_address(int socket);

}  // namespace goheapd::exporters::http

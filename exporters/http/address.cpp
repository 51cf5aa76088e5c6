#include "exporters/http/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

namespace goheapd::exporters::http {
namespace {

constexpr int kBacklog = 128;

Expected<UniqueFd> bind_and_listen(const sockaddr* address, socklen_t length, bool both_families) {
  UniqueFd fd(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail("cannot create a socket", {}, errno);
  const int on = 1;
  const int only_ipv6 = both_families ? 0 : 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (address->sa_family == AF_INET6) {
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only_ipv6, sizeof(only_ipv6));
  }
  if (::bind(fd.get(), address, length) != 0) return fail("cannot listen on the address", {}, errno);
  if (::listen(fd.get(), kBacklog) != 0) return fail("cannot listen on the address", {}, errno);
  return fd;
}

Expected<UniqueFd> listen_everywhere(uint16_t port) {
  sockaddr_in6 any6{};
  any6.sin6_family = AF_INET6;
  any6.sin6_addr = in6addr_any;
  any6.sin6_port = htons(port);
  auto fd = bind_and_listen(reinterpret_cast<const sockaddr*>(&any6), sizeof(any6), true);
  // No IPv6 compiled in, or switched off (ipv6.disable=1, disable_ipv6).
  if (fd || (fd.error().errno_value != EAFNOSUPPORT && fd.error().errno_value != EADDRNOTAVAIL)) return fd;
  sockaddr_in any4{};
  any4.sin_family = AF_INET;
  any4.sin_addr.s_addr = htonl(INADDR_ANY);
  any4.sin_port = htons(port);
  return bind_and_listen(reinterpret_cast<const sockaddr*>(&any4), sizeof(any4), false);
}

}  // namespace

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

Expected<UniqueFd> listen_on(const ListenAddress& address) {
  const std::string subject = address.host + ":" + std::to_string(address.port);
  Expected<UniqueFd> fd = fail("cannot listen on the address");
  if (address.host.empty()) {
    fd = listen_everywhere(address.port);
  } else {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE;
    addrinfo* found = nullptr;
    const int error =
        ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
    if (error != 0)
      return fail(std::string("cannot resolve the listen address, ") + ::gai_strerror(error), subject);
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
    for (const addrinfo* info = found; info != nullptr && !fd; info = info->ai_next) {
      fd = bind_and_listen(info->ai_addr, info->ai_addrlen, false);
    }
  }
  if (!fd) fd.error().subject = subject;
  return fd;
}

std::string bound_address(int socket) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return "unknown";
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (storage.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &storage, sizeof(v4));
    ::inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    return std::string(text.data()) + ":" + std::to_string(ntohs(v4.sin_port));
  }
  sockaddr_in6 v6{};
  std::memcpy(&v6, &storage, sizeof(v6));
  ::inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
  return "[" + std::string(text.data()) + "]:" + std::to_string(ntohs(v6.sin6_port));
}

}  // namespace goheapd::exporters::http

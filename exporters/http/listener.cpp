#include "exporters/http/listener.h"

#include <fcntl.h>

#include <boost/asio/ip/v6_only.hpp>
#include <cerrno>
#include <sstream>

namespace goheapd::exporters::http {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

constexpr int kBacklog = 128;

error_code listen(tcp::acceptor& acceptor, const tcp::endpoint& endpoint, bool both_families) {
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (error) return error;
  close_on_exec(acceptor.native_handle());
  acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error && endpoint.protocol() == tcp::v6()) {
    acceptor.set_option(boost::asio::ip::v6_only(!both_families), error);
  }
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(kBacklog, error);
  if (error) acceptor.close();
  return error;
}

error_code listen_everywhere(tcp::acceptor& acceptor, uint16_t port) {
  const error_code error = listen(acceptor, tcp::endpoint(tcp::v6(), port), true);
  // No IPv6 compiled in, or switched off (ipv6.disable=1, disable_ipv6).
  if (error.value() != EAFNOSUPPORT && error.value() != EADDRNOTAVAIL) return error;
  return listen(acceptor, tcp::endpoint(tcp::v4(), port), false);
}

}  // namespace

Expected<tcp::acceptor> listen_on(boost::asio::io_context& io, const ListenAddress& address) {
  const std::string subject = address.host + ":" + std::to_string(address.port);
  tcp::acceptor acceptor(io);
  error_code error;
  if (address.host.empty()) {
    error = listen_everywhere(acceptor, address.port);
  } else {
    tcp::resolver resolver(io);
    const auto found = resolver.resolve(address.host, std::to_string(address.port),
                                        tcp::resolver::passive | tcp::resolver::numeric_service, error);
    if (error) return fail("cannot resolve the listen address, " + error.message(), subject);
    for (const auto& entry : found) {
      error = listen(acceptor, entry.endpoint(), false);
      if (!error) break;
    }
  }
  if (error) return fail("cannot listen on the address", subject, error.value());
  return acceptor;
}

std::string bound_address(const tcp::acceptor& acceptor) {
  error_code error;
  const tcp::endpoint endpoint = acceptor.local_endpoint(error);
  if (error) return "unknown";
  std::ostringstream text;
  text << endpoint;
  return text.str();
}

void close_on_exec(int socket) { ::fcntl(socket, F_SETFD, FD_CLOEXEC); }

}  // namespace goheapd::exporters::http

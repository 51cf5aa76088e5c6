// Sockets that listen.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <string>

#include "daemon/base/expected.h"
#include "exporters/http/address.h"

namespace goheapd::exporters::http {

// Listens on the first address that the host's name has and that can be had. Where the kernel has no IPv6, an
// empty host means every IPv4 address.
Expected<boost::asio::ip::tcp::acceptor> listen_on(boost::asio::io_context& io, const ListenAddress& address);

// "127.0.0.1:9786" or "[::1]:9786", as the kernel bound the socket.
std::string bound_address(const boost::asio::ip::tcp::acceptor& acceptor);

// Asio opens sockets that a program which we execute would inherit. Call on each.
void close_on_exec(int socket);

}  // namespace goheapd::exporters::http

// A raw client, for what a well-behaved HTTP library would not send.
#pragma once

#include <functional>
#include <string>

#include "daemon/base/unique_fd.h"

namespace goheapd::exporters::http {

// Connected to "127.0.0.1:port"; fails the test when it cannot be.
UniqueFd connect_to(const std::string& address);
int port_of(const std::string& address);

void send_bytes(int socket, const std::string& bytes);
// Until the server closes the connection; a reset ends it as well.
std::string read_to_end(int socket);

// send_bytes and read_to_end on a connection of its own.
std::string raw_exchange(const std::string& address, const std::string& bytes);

// Calls `client` with 0 to count - 1, each on a thread of its own, where httplib's clients of the server at `address` may
// be used.
void side_by_side(const std::string& address, int count, const std::function<void(int)>& client);

}  // namespace goheapd::exporters::http

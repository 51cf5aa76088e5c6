// The life of one HTTP connection, on its own thread.
#pragma once

#include <atomic>
#include <stop_token>

#include "exporters/http/access.h"
#include "exporters/http/router.h"

namespace goheapd::exporters::http {

// Reads requests from the socket and answers them until either side has had enough. `answering` is true while
// a handler runs: then nobody reads the socket, and whoever started us should watch it for a client that
// left.
void serve_connection(int socket, const Router& router, AccessControl& access, std::stop_token stop,
                      std::atomic<bool>& answering);

}  // namespace goheapd::exporters::http

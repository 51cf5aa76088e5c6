// The HTTP server: HTTP/1.1, optionally under TLS and basic authentication.
//
//   listen sockets ──▶ I/O thread: accepts, and takes every connection's steps (session.h)
//                        │      ▲
//                head of │      │ finished
//              a request ▼      │ answer
//                      worker threads: authenticate ▶ route ▶ handler, which may block for seconds
//
// There are as many workers as there have been requests at once, at most max_connections: a handler that
// waits (?seconds=N) never keeps another request waiting. Boost.Asio and Boost.Beast do the wire's work.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/base/expected.h"
#include "exporters/http/limits.h"
#include "exporters/http/router.h"
#include "exporters/http/web_config.h"

namespace goheapd::exporters::http {

struct ServerOptions {
  std::vector<std::string> listen_addresses;  // as parse_listen_address takes them
  std::string web_config_file;                // empty = neither TLS nor authentication
  // Where there are more, the one that has not asked for anything for longest is closed, else the new one answered 503.
  size_t max_connections = 128;
  Deadlines deadlines = {};
};

// Thread safe. The threads block every signal, so that signals reach the thread that waits for them.
class Server {
 public:
  // Reads the web configuration file and listens on all addresses, or fails, naming the one that cannot be had. Who connects
  // waits until serve().
  static Expected<std::unique_ptr<Server>> listen(const ServerOptions& options);
  // Begins to answer. Call it once.
  Expected<void> serve(Router router);
  // Both.
  static Expected<std::unique_ptr<Server>> start(const ServerOptions& options, Router router);
  ~Server();

  // As the kernel bound them, e.g. "127.0.0.1:9786", in the order of the options.
  const std::vector<std::string>& addresses() const;
  bool uses_tls() const;

  // Reads the web configuration file again, which each connection does only when it has changed. Error: why the last good one
  // stays in force.
  Expected<void> reload_web_config();
  // nullopt: there is no such file.
  std::optional<WebConfigStatus> web_config_status() const;

  // Ends running requests, closes everything and joins every thread; handlers that wait see Request::stop.
  // A second call does nothing.
  void stop();

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace goheapd::exporters::http

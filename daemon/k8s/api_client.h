// A client of the Kubernetes API server: HTTPS with a service account's token, answers of any length.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "daemon/base/expected.h"

namespace goheapd::k8s {

struct ApiServer {
  std::string host;  // a name or an address, without brackets
  std::string port = "443";
  std::string token_file;  // read for each request, since the kubelet renews it; empty = no token
  std::string ca_file;     // empty = the system's authorities
};

// Of "https://HOST[:PORT]".
Expected<ApiServer> parse_api_server(const std::string& url);

struct ApiAnswer {
  int status = 0;
  std::string error_text;  // the beginning of what came with any status but 200
};

// One connection and one request at a time, by one thread; interrupt() by any. Every call blocks, within its limits.
class ApiClient {
 public:
  explicit ApiClient(ApiServer server);
  ~ApiClient();
  ApiClient(const ApiClient&) = delete;
  ApiClient& operator=(const ApiClient&) = delete;

  // Receives the body of a 200 piece by piece; false: enough, the answer is given up and the call succeeds.
  using OnBody = std::function<bool(std::string_view piece)>;
  // GETs `target` (path and query). `silence` is how long the server may say nothing; connecting has a limit of its
  // own. Error: the connection, TLS or HTTP failed, or the answer broke off.
  Expected<ApiAnswer> get(const std::string& target, std::chrono::milliseconds silence,
                          const OnBody& on_body);

  // Ends a get() that is under way, and every later one, with an error.
  void interrupt();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace goheapd::k8s

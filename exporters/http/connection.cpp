#include "exporters/http/connection.h"

#include <chrono>
#include <exception>
#include <optional>
#include <string>

#include "exporters/http/channel.h"

namespace goheapd::exporters::http {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr seconds kHandshakeTimeout{10};
constexpr seconds kFirstByteTimeout{10};
constexpr seconds kIdleTimeout{30};
constexpr seconds kHeadTimeout{10};  // from the first byte of a head to its last, however slowly they come
constexpr seconds kWriteTimeout{30};
constexpr int kMaxRequests = 1000;  // per connection

// Where the head ends (one past the empty line); npos = not yet.
size_t head_end(const std::string& buffer) {
  const auto with_cr = buffer.find("\r\n\r\n");
  const auto bare = buffer.find("\n\n");
  if (with_cr < bare) return with_cr + 4;
  return bare == std::string::npos ? std::string::npos : bare + 2;
}

enum class HeadResult { complete, too_large, closed };

// Leaves in `buffer` what came behind the head: the next request of a client that does not wait.
HeadResult read_head(Channel& channel, std::string& buffer, std::string& head, seconds first_byte_timeout) {
  for (;;) {  // RFC 9112 2.2: empty lines before a request are to be ignored
    while (!buffer.empty() && (buffer.front() == '\r' || buffer.front() == '\n')) buffer.erase(0, 1);
    if (!buffer.empty()) break;
    if (!channel.read_some(buffer, steady_clock::now() + first_byte_timeout)) return HeadResult::closed;
  }
  const Deadline deadline = steady_clock::now() + kHeadTimeout;
  for (;;) {
    if (const size_t end = head_end(buffer); end != std::string::npos && end <= kMaxHeadBytes) {
      head = buffer.substr(0, end);
      buffer.erase(0, end);
      return HeadResult::complete;
    }
    if (buffer.size() > kMaxHeadBytes) return HeadResult::too_large;
    if (!channel.read_some(buffer, deadline)) return HeadResult::closed;
  }
}

Response answer(const Router& router, AccessControl& access, const WebConfig& config, Request request) {
  Response response;
  try {
    auto refusal = access.refusal(config, request);
    response = refusal ? std::move(*refusal) : router.route(std::move(request));
  } catch (const std::exception& error) {  // out of memory, mostly: it must cost one answer, not the daemon
    response = error_response(500, std::string("the request failed: ") + error.what());
  }
  for (const auto& [name, value] : config.headers) {
    std::erase_if(response.headers, [&name = name](const auto& field) { return field.first == name; });
    response.headers.emplace_back(name, value);
  }
  return response;
}

bool send(Channel& channel, const Response& response, bool keep_alive, bool head_only) {
  const Deadline deadline = steady_clock::now() + kWriteTimeout;
  std::string bytes = serialize_head(response, keep_alive);
  // One segment for small answers; large bodies are not copied.
  const bool join = !head_only && response.body.size() <= 16 * 1024;
  if (join) bytes += response.body;
  if (!channel.write_all(bytes, deadline)) return false;
  return join || head_only || channel.write_all(response.body, deadline);
}

}  // namespace

void serve_connection(int socket, const Router& router, AccessControl& access, std::stop_token stop,
                      std::atomic<bool>& answering) {
  Channel channel(socket);
  if (access.uses_tls()) {
    const auto current = access.current();
    if (!channel.start_tls(*current->tls, steady_clock::now() + kHandshakeTimeout)) return;
    if (!peer_is_allowed(*channel.tls(), *current->config.tls)) return;
  }
  std::string buffer;
  std::string head;
  seconds first_byte_timeout = kFirstByteTimeout;
  for (int i = 0; i < kMaxRequests && !stop.stop_requested(); ++i, first_byte_timeout = kIdleTimeout) {
    const HeadResult result = read_head(channel, buffer, head, first_byte_timeout);
    if (result == HeadResult::closed) break;
    auto request = result == HeadResult::too_large
                       ? tl::unexpected<BadRequest>(BadRequest{431, "the request head is too large"})
                       : parse_head(head);
    if (!request) {
      send(channel, error_response(request.error().status, request.error().message), false, false);
      break;
    }
    request->secure = access.uses_tls();
    request->stop = stop;
    const bool head_only = request->method == "HEAD";
    const bool keep_alive = request->keep_alive && !request->has_body && i + 1 < kMaxRequests;
    // Held until the answer is made: a reload must not take the configuration away under us.
    const auto current = access.current();
    answering.store(true, std::memory_order_relaxed);
    const Response response = answer(router, access, current->config, std::move(*request));
    answering.store(false, std::memory_order_relaxed);
    if (!send(channel, response, keep_alive, head_only) || !keep_alive) break;
  }
  channel.finish();
}

}  // namespace goheapd::exporters::http

#include "exporters/http/session.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/stream_traits.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <chrono>
#include <cstdint>
#include <exception>
#include <limits>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include "exporters/http/beast_message.h"

namespace goheapd::exporters::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using std::chrono::milliseconds;

constexpr milliseconds kRefusedTimeout{2000};
constexpr milliseconds kGoodbyeTimeout{200};
constexpr milliseconds kWatchInterval{250};
constexpr size_t kReadBytes = 4096;
constexpr int kSendBufferBytes = 128 * 1024;
constexpr size_t kMaxBufferBytes = kMaxHeadBytes + kReadBytes;
constexpr size_t kJoinBytes = 16 * 1024;
constexpr size_t kGoodbyeBytes = 256 * 1024;

// Also of a client that has only said that it will send no more: no HTTP client does so and still waits.
bool peer_left(int socket) {
  pollfd entry{socket, POLLRDHUP, 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

Response answer(const Session::Shared& shared, Request request) {
  Response response;
  // Held until the answer is made: a reload must not take the configuration away under us.
  const auto current = shared.access.current();
  try {
    auto refusal = shared.access.refusal(current->config, request);
    response = refusal ? std::move(*refusal) : shared.router.route(std::move(request));
  } catch (const std::exception& error) {  // out of memory, mostly: it must cost one answer, not the daemon
    response = error_response(500, std::string("the request failed: ") + error.what());
  }
  for (const auto& [name, value] : current->config.headers) {
    std::erase_if(response.headers, [&name = name](const auto& field) { return field.first == name; });
    response.headers.emplace_back(name, value);
  }
  return response;
}

// Everything after the handshake is the same for both kinds of streams.
template <typename Stream>
class SessionOver : public Session, public std::enable_shared_from_this<SessionOver<Stream>> {
 public:
  void stop() override {
    stopped_ = true;
    stop_source_.request_stop();
    tcp().close();
  }

 protected:
  template <typename... Arguments>
  SessionOver(Shared& shared, Admission admission, Arguments&&... arguments)
      : shared_(shared),
        admission_(admission),
        stream_(std::forward<Arguments>(arguments)...),
        watch_timer_(stream_.get_executor()) {
    error_code ignored;  // without it, answers are only slower
    tcp().socket().set_option(asio::ip::tcp::no_delay(true), ignored);
    // The kernel would take up to 4 MiB of each answer that nobody reads, which counts as ours in a container.
    tcp().socket().set_option(asio::socket_base::send_buffer_size(kSendBufferBytes), ignored);
  }

  Stream& stream() { return stream_; }
  const Deadlines& deadlines() const { return shared_.deadlines; }
  beast::tcp_stream& tcp() { return beast::get_lowest_layer(stream_); }

  void wait_for_request() {
    now_waits(Waits::for_request);
    tcp().expires_after(admission_ == Admission::refused ? kRefusedTimeout
                        : answered_ == 0                 ? deadlines().first_byte
                                                         : deadlines().idle);
    read_first_bytes();
  }

  // Ends the stream's own layer, then calls say_goodbye_tcp.
  virtual void say_goodbye() = 0;

  // Closing a socket with unread bytes makes the kernel reset the connection, and the client may lose an
  // answer that it has not read yet. So what it still sends is read away, for a short while.
  void say_goodbye_tcp() {
    error_code ignored;
    tcp().socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    tcp().expires_after(kGoodbyeTimeout);
    read_away(0);
  }

 private:
  void read_first_bytes() {
    skip_empty_lines();
    // A client that does not wait for our answers has sent the next request already.
    if (buffer_.size() > 0) return read_head();
    stream_.async_read_some(buffer_.prepare(kReadBytes),
                            [this, self = this->shared_from_this()](error_code error, size_t size) {
                              if (error) return;
                              buffer_.commit(size);
                              read_first_bytes();
                            });
  }

  // RFC 9112 2.2: those before a request are to be ignored. Beast does not.
  void skip_empty_lines() {
    const auto bytes = buffer_.cdata();
    const std::string_view text(static_cast<const char*>(bytes.data()), bytes.size());
    buffer_.consume(std::min(text.find_first_not_of("\r\n"), text.size()));
  }

  void read_head() {
    tcp().expires_after(admission_ == Admission::refused ? kRefusedTimeout : deadlines().head);
    version_ = 11;
    head_only_ = false;
    parser_.emplace();
    parser_->header_limit(kMaxHeadBytes);
    // Bodies are not read, so they may have any length. (No limit at all, in Boost 1.74, is a limit of zero.)
    parser_->body_limit(std::numeric_limits<uint64_t>::max());
    beast::http::async_read_header(
        stream_, buffer_, *parser_,
        [this, self = this->shared_from_this()](error_code error, size_t) { on_head(error); });
  }

  void on_head(error_code error) {
    if (stopped_) return;
    if (error) {
      if (auto response = answer_to_bad_head(error)) send(std::move(*response), false);
      return;
    }
    // Bodies are not read: with one behind the head, the connection ends after the answer.
    const BeastRequest& message = parser_->get();
    version_ = message.version();
    head_only_ = message.method() == beast::http::verb::head;
    // Whatever Beast makes of it, a Transfer-Encoding is about a body.
    const bool has_body =
        !parser_->is_done() || message.find(beast::http::field::transfer_encoding) != message.end();
    keep_alive_ = message.keep_alive() && !has_body && answered_ + 1 < kMaxRequests;
    auto request = to_request(message);
    parser_.reset();
    if (!request) return send(std::move(request.error()), false);
    if (admission_ == Admission::refused)
      return send(error_response(503, "too many connections; try again"), false);
    request->secure = shared_.access.uses_tls();
    make_answer(std::move(*request));
  }

  void make_answer(Request request) {
    stop_source_ = std::stop_source();
    request.stop = stop_source_.get_token();
    making_ = true;
    now_waits(Waits::for_answer);
    tcp().expires_never();
    watch();
    shared_.workers.post([this, self = this->shared_from_this(), request = std::move(request)]() mutable {
      Response response = answer(shared_, std::move(request));
      // Moves `self` along, so that the session never ends on this thread.
      asio::post(stream_.get_executor(),
                 [this, self = std::move(self), response = std::move(response)]() mutable {
                   making_ = false;
                   watch_timer_.cancel();
                   if (!stopped_) send(std::move(response), keep_alive_);
                 });
    });
  }

  // While the answer is made nobody reads the socket, so a client that hangs up must be looked for.
  void watch() {
    watch_timer_.expires_after(kWatchInterval);
    watch_timer_.async_wait([this, self = this->shared_from_this()](error_code error) {
      if (error || !making_ || stopped_) return;
      if (!peer_left(tcp().socket().native_handle())) return watch();
      stop_source_.request_stop();
    });
  }

  void send(Response response, bool keep_alive) {
    now_waits(Waits::for_reader);
    std::string head = serialize_head(response, version_, keep_alive);
    // One segment, and one TLS record, for small answers; large bodies are not copied.
    if (!head_only_ && response.body.size() <= kJoinBytes) head += std::exchange(response.body, {});
    if (head_only_) response.body = {};
    if (!response.body.empty()) held_ = std::move(response.held);
    outgoing_ = {std::move(head), std::move(response.body)};
    tcp().expires_after(shared_.router.budget().is_scarce() ? deadlines().scarce_write : deadlines().write);
    asio::async_write(stream_, std::array{asio::buffer(outgoing_[0]), asio::buffer(outgoing_[1])},
                      [this, self = this->shared_from_this(), keep_alive](error_code error, size_t) {
                        outgoing_ = {};  // a profile is large, and the connection may idle
                        held_.reset();
                        if (error || stopped_) return;
                        ++answered_;
                        if (keep_alive) return wait_for_request();
                        say_goodbye();
                      });
  }

  void read_away(size_t total) {
    tcp().async_read_some(asio::buffer(scratch_),
                          [this, self = this->shared_from_this(), total](error_code error, size_t size) {
                            if (!error && total + size < kGoodbyeBytes) read_away(total + size);
                          });
  }

  Shared& shared_;
  const Admission admission_;
  Stream stream_;
  asio::steady_timer watch_timer_;
  std::stop_source stop_source_;  // of the present request
  beast::flat_buffer buffer_{kMaxBufferBytes};
  std::optional<beast::http::request_parser<beast::http::empty_body>> parser_;
  std::array<std::string, 2> outgoing_;  // head, body
  std::shared_ptr<const void> held_;     // as Response::held
  std::array<char, kReadBytes> scratch_{};
  unsigned version_ = 11;  // of the present request, as the next two
  bool head_only_ = false;
  bool keep_alive_ = false;
  int answered_ = 0;
  bool making_ = false;
  bool stopped_ = false;
};

class ClearSession final : public SessionOver<beast::tcp_stream> {
 public:
  ClearSession(Shared& shared, Admission admission, asio::ip::tcp::socket socket)
      : SessionOver(shared, admission, std::move(socket)) {}

  void begin() { wait_for_request(); }

 private:
  void say_goodbye() override { say_goodbye_tcp(); }
};

// OpenSSL knows one by its first bytes.
bool is_clear_request(error_code error) {
  return error.category() == asio::error::get_ssl_category() &&
         ERR_GET_REASON(static_cast<unsigned long>(error.value())) == SSL_R_HTTP_REQUEST;
}

class TlsSession final : public SessionOver<asio::ssl::stream<beast::tcp_stream>> {
 public:
  TlsSession(Shared& shared, Admission admission, asio::ip::tcp::socket socket, asio::ssl::context& context,
             std::shared_ptr<const AccessControl::Current> settings)
      : SessionOver(shared, admission, std::move(socket), context), settings_(std::move(settings)) {}

  void begin() {
    tcp().expires_after(deadlines().handshake);
    stream().async_handshake(asio::ssl::stream_base::server,
                             [this, self = shared_from_this()](error_code error) {
                               if (is_clear_request(error)) return answer_in_clear();
                               if (error) return;
                               SSL& tls = *stream().native_handle();
                               const auto settings = std::move(settings_);
                               if (!peer_is_allowed(tls, *settings->config.tls)) return;
                               wait_for_request();
                             });
  }

 private:
  // In the words of Go's servers, and like them without looking at who may ask: it tells what any client sees anyway.
  void answer_in_clear() {
    static constexpr std::string_view kAnswer =
        "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
        "Client sent an HTTP request to an HTTPS server.\n";
    asio::async_write(tcp(), asio::buffer(kAnswer),
                      [this, self = shared_from_this()](error_code error, size_t) {
                        if (!error) say_goodbye_tcp();
                      });
  }

  void say_goodbye() override {
    tcp().expires_after(kGoodbyeTimeout);
    stream().async_shutdown([this, self = shared_from_this()](error_code) { say_goodbye_tcp(); });
  }

  std::shared_ptr<const AccessControl::Current> settings_;  // until the handshake is over
};

}  // namespace

std::weak_ptr<Session> Session::start(asio::ip::tcp::socket socket, Shared& shared, Admission admission) {
  if (!shared.access.uses_tls()) {
    const auto session = std::make_shared<ClearSession>(shared, admission, std::move(socket));
    session->begin();
    return session;
  }
  auto settings = shared.access.current();
  // Asio wants a context of its own type; it takes over the reference that is counted here, and the stream
  // holds another.
  SSL_CTX_up_ref(settings->tls.get());
  asio::ssl::context context(settings->tls.get());
  const auto session =
      std::make_shared<TlsSession>(shared, admission, std::move(socket), context, std::move(settings));
  session->begin();
  return session;
}

}  // namespace goheapd::exporters::http

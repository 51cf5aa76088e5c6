#include "daemon/k8s/api_client.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <limits>
#include <optional>
#include <utility>

#include "daemon/base/unique_fd.h"

namespace goheapd::k8s {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using TlsStream = asio::ssl::stream<beast::tcp_stream>;

constexpr std::chrono::seconds kConnectTimeout{10};
constexpr size_t kPieceBytes = 32 * 1024;
constexpr size_t kMaxHeadBytes = 64 * 1024;
constexpr size_t kMaxTokenBytes = 64 * 1024;
constexpr size_t kMaxErrorBytes = 2048;

Expected<std::string> read_token(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail("cannot read the service account's token", path, errno);
  std::string token(kMaxTokenBytes, '\0');
  const ssize_t size = ::read(fd.get(), token.data(), token.size());
  if (size < 0) return fail("cannot read the service account's token", path, errno);
  token.resize(static_cast<size_t>(size));
  token.erase(token.find_last_not_of(" \r\n\t") + 1);
  // Anything else could not be in a header.
  if (std::any_of(token.begin(), token.end(), [](unsigned char c) { return c <= ' ' || c >= 0x7f; })) {
    return fail("the service account's token has characters that no token has", path);
  }
  return token;
}

Unexpected failed(const std::string& what, const ApiServer& server, const error_code& error) {
  return fail(what + " (" + error.message() + ")", server.host + ":" + server.port);
}

}  // namespace

Expected<ApiServer> parse_api_server(const std::string& url) {
  constexpr std::string_view kScheme = "https://";
  if (!url.starts_with(kScheme)) return fail("the API server's address must begin with https://", url);
  std::string_view rest = std::string_view(url).substr(kScheme.size());
  if (rest.ends_with('/')) rest.remove_suffix(1);
  ApiServer server;
  if (rest.starts_with('[')) {
    const auto end = rest.find(']');
    if (end == std::string_view::npos) return fail("] is missing", url);
    server.host = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
  } else {
    server.host = rest.substr(0, rest.find(':'));
    rest.remove_prefix(server.host.size());
  }
  if (rest.starts_with(':')) {
    server.port = rest.substr(1);
    rest = {};
  }
  const bool digits = server.port.find_first_not_of("0123456789") == std::string::npos;
  if (server.host.empty() || server.host.find_first_of("/?#@ \r\n") != std::string::npos || !rest.empty() ||
      server.port.empty() || server.port.size() > 5 || !digits) {
    return fail("not an address of an API server: https://HOST:PORT is", url);
  }
  return server;
}

class ApiClient::Impl {
 public:
  explicit Impl(ApiServer server) : server_(std::move(server)) {}

  Expected<ApiAnswer> get(const std::string& target, std::chrono::milliseconds silence,
                          const OnBody& on_body) {
    std::string token;
    if (!server_.token_file.empty()) {
      auto read = read_token(server_.token_file);
      if (!read) return Unexpected(read.error());
      token = std::move(*read);
    }
    stream_.reset();
    auto answer = connect().and_then([&] { return exchange(target, token, silence, on_body); });
    // Without a TLS goodbye: the server knows from HTTP what was complete, and we do not wait for it.
    if (stream_) beast::get_lowest_layer(*stream_).close();
    return answer;
  }

  void interrupt() {
    interrupted_ = true;
    asio::post(io_, [this] {
      resolver_.cancel();
      if (stream_) beast::get_lowest_layer(*stream_).close();
    });
  }

 private:
  // Runs one asynchronous operation to its end; `start` gets the handler.
  template <typename Start>
  error_code step(std::chrono::milliseconds limit, Start start) {
    error_code result = asio::error::operation_aborted;
    io_.restart();
    if (interrupted_) return result;
    beast::get_lowest_layer(*stream_).expires_after(limit);
    start([&result](const error_code& error, auto&&...) { result = error; });
    io_.run();
    return interrupted_ ? error_code(asio::error::operation_aborted) : result;
  }

  Expected<void> connect() {
    // Anew for each connection: the CA file may have been renewed.
    context_.emplace(asio::ssl::context::tls_client);
    error_code error;
    if (server_.ca_file.empty()) {
      context_->set_default_verify_paths(error);
    } else {
      context_->load_verify_file(server_.ca_file, error);
    }
    if (error) return fail("cannot read the API server's CA (" + error.message() + ")", server_.ca_file);
    SSL_CTX_set_min_proto_version(context_->native_handle(), TLS1_2_VERSION);
    stream_.emplace(io_, *context_);
    stream_->set_verify_mode(asio::ssl::verify_peer, error);
    stream_->set_verify_callback(asio::ssl::host_name_verification(server_.host), error);

    tcp::resolver::results_type addresses;
    const auto address = asio::ip::make_address(server_.host, error);
    if (!error) {
      const auto port = static_cast<unsigned short>(std::stoul(server_.port));
      addresses =
          tcp::resolver::results_type::create(tcp::endpoint(address, port), server_.host, server_.port);
    } else {
      // SNI is for names only.
      SSL_set_tlsext_host_name(stream_->native_handle(), server_.host.c_str());
      error = step(kConnectTimeout, [&](auto handler) {
        resolver_.async_resolve(server_.host, server_.port,
                                [&addresses, handler](const error_code& e, auto found) {
                                  addresses = std::move(found);
                                  handler(e);
                                });
      });
      if (error) return failed("cannot look up the API server", server_, error);
    }
    error = step(kConnectTimeout,
                 [&](auto handler) { beast::get_lowest_layer(*stream_).async_connect(addresses, handler); });
    if (error) return failed("cannot connect to the API server", server_, error);
    beast::get_lowest_layer(*stream_).socket().set_option(asio::socket_base::keep_alive(true), error);
    error = step(kConnectTimeout,
                 [&](auto handler) { stream_->async_handshake(asio::ssl::stream_base::client, handler); });
    if (error) return failed("no TLS connection to the API server", server_, error);
    return {};
  }

  Expected<ApiAnswer> exchange(const std::string& target, const std::string& token,
                               std::chrono::milliseconds silence, const OnBody& on_body) {
    http::request<http::empty_body> request(http::verb::get, target, 11);
    const bool ipv6 = server_.host.find(':') != std::string::npos;
    request.set(http::field::host, (ipv6 ? "[" + server_.host + "]" : server_.host) + ":" + server_.port);
    request.set(http::field::accept, "application/json");
    request.set(http::field::user_agent, "goheapd");
    if (!token.empty()) request.set(http::field::authorization, "Bearer " + token);
    error_code error =
        step(kConnectTimeout, [&](auto handler) { http::async_write(*stream_, request, handler); });
    if (error) return failed("cannot send a request to the API server", server_, error);

    beast::flat_buffer buffer(kMaxHeadBytes + kPieceBytes);
    http::response_parser<http::buffer_body> parser;
    parser.header_limit(kMaxHeadBytes);
    parser.body_limit(std::numeric_limits<uint64_t>::max());  // the caller's affair, piece by piece
    error = step(silence, [&](auto handler) { http::async_read_header(*stream_, buffer, parser, handler); });
    if (error) return failed("no answer from the API server", server_, error);

    ApiAnswer answer;
    answer.status = parser.get().result_int();
    std::array<char, kPieceBytes> piece{};
    while (!parser.is_done()) {
      auto& body = parser.get().body();
      body = {piece.data(), piece.size(), true};
      error = step(silence, [&](auto handler) { http::async_read_some(*stream_, buffer, parser, handler); });
      if (error && error != http::error::need_buffer) {
        return failed("the API server's answer broke off", server_, error);
      }
      const std::string_view got(piece.data(), piece.size() - body.size);
      if (answer.status == 200) {
        if (!got.empty() && !on_body(got)) break;
      } else {
        answer.error_text += got.substr(0, kMaxErrorBytes - answer.error_text.size());
        if (answer.error_text.size() >= kMaxErrorBytes) break;
      }
    }
    return answer;
  }

  const ApiServer server_;
  std::atomic<bool> interrupted_{false};
  asio::io_context io_{1};
  tcp::resolver resolver_{io_};
  std::optional<asio::ssl::context> context_;  // before the stream, which uses it
  std::optional<TlsStream> stream_;
};

ApiClient::ApiClient(ApiServer server) : impl_(std::make_unique<Impl>(std::move(server))) {}
ApiClient::~ApiClient() = default;

Expected<ApiAnswer> ApiClient::get(const std::string& target, std::chrono::milliseconds silence,
                                   const OnBody& on_body) {
  try {
    return impl_->get(target, silence, on_body);
  } catch (const std::exception& error) {  // Asio's way to say that there are no descriptors or threads left
    return fail(std::string("cannot ask the API server: ") + error.what());
  }
}

void ApiClient::interrupt() { impl_->interrupt(); }

}  // namespace goheapd::k8s

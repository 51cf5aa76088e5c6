#include "tests/unit/k8s/api_stand_in.h"

#include <array>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>
#include <fstream>
#include <stdexcept>

#include "tests/unit/exporters/http/certificates.h"

namespace goheapd::k8s {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using exporters::http::Certificate;

}  // namespace

std::string ApiStandIn::Request::parameter(std::string_view name) const {
  for (const char before : {'?', '&'}) {
    const std::string key = before + std::string(name) + "=";
    const auto at = target.find(key);
    if (at == std::string::npos) continue;
    const auto begin = at + key.size();
    return target.substr(begin, target.find('&', begin) - begin);
  }
  return {};
}

bool ApiStandIn::Connection::send(std::string_view text) {
  boost::system::error_code error;
  asio::write(stream_, asio::buffer(text), error);
  return !error;
}

void ApiStandIn::Connection::answer(int status, std::string_view body) {
  send("HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Type: application/json\r\nContent-Length: " +
       std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
}

void ApiStandIn::Connection::begin_events() {
  send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
}

bool ApiStandIn::Connection::event(const std::string& line, size_t split) {
  const std::string text = line + "\n";
  bool sent = true;
  for (const std::string& part :
       {text.substr(0, split), split < text.size() ? text.substr(split) : std::string()}) {
    if (part.empty()) continue;
    std::array<char, 20> size{};
    std::snprintf(size.data(), size.size(), "%zx\r\n", part.size());
    sent = send(size.data() + part + "\r\n") && sent;
  }
  return sent;
}

void ApiStandIn::Connection::hold() {
  boost::system::error_code error;
  char byte = 0;
  asio::read(stream_, asio::buffer(&byte, 1), error);
}

ApiStandIn::ApiStandIn(Script script, const std::string& certified_name)
    : script_(std::move(script)), acceptor_(io_, tcp::endpoint(asio::ip::make_address("127.0.0.1"), 0)) {
  std::string pattern = (std::filesystem::temp_directory_path() / "goheapd-api-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary directory");
  directory_ = pattern;
  const auto authority = Certificate::authority("cluster");
  const auto own = Certificate::signed_by(authority, "api", certified_name);
  std::ofstream(directory_ / "ca.crt") << authority.certificate_pem();
  write_token("first-token\n");
  const std::string certificate = own.certificate_pem();
  const std::string key = own.key_pem();
  context_.use_certificate(asio::buffer(certificate), asio::ssl::context::pem);
  context_.use_private_key(asio::buffer(key), asio::ssl::context::pem);
  thread_ = std::thread([this] { serve(); });
}

ApiStandIn::~ApiStandIn() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  // Wakes the accept; close() would not.
  tcp::socket knock(io_);
  boost::system::error_code ignored;
  knock.connect(acceptor_.local_endpoint(), ignored);
  thread_.join();
  for (std::thread& connection : connections_) connection.join();
  std::filesystem::remove_all(directory_);
}

ApiServer ApiStandIn::server() const {
  return {"127.0.0.1", std::to_string(acceptor_.local_endpoint().port()), directory_ / "token",
          directory_ / "ca.crt"};
}

void ApiStandIn::write_token(const std::string& token) const { std::ofstream(directory_ / "token") << token; }

bool ApiStandIn::wait_for_requests(size_t n) {
  std::unique_lock lock(mutex_);
  return more_.wait_for(lock, std::chrono::seconds(20), [&] { return requests_.size() >= n; });
}

std::vector<ApiStandIn::Request> ApiStandIn::requests() {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void ApiStandIn::serve() {
  for (;;) {
    tcp::socket socket(io_);
    boost::system::error_code error;
    acceptor_.accept(socket, error);
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
    if (error) continue;
    connections_.emplace_back([this, socket = std::move(socket)]() mutable {
      Connection::Stream stream(std::move(socket), context_);
      boost::system::error_code failed;
      stream.handshake(asio::ssl::stream_base::server, failed);
      if (failed) return;
      Request request;
      asio::read_until(stream, asio::dynamic_buffer(request.head), "\r\n\r\n", failed);
      if (failed) return;
      const auto begin = request.head.find(' ') + 1;
      request.target = request.head.substr(begin, request.head.find(' ', begin) - begin);
      size_t n = 0;
      {
        const std::lock_guard lock(mutex_);
        n = requests_.size();
        requests_.push_back(request);
      }
      more_.notify_all();
      Connection connection(stream);
      script_(n, request, connection);
    });
  }
}

}  // namespace goheapd::k8s

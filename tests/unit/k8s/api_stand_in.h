// An API server's end of the wire: real TLS, answers by script.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "daemon/k8s/api_client.h"

namespace goheapd::k8s {

class ApiStandIn {
 public:
  struct Request {
    std::string target;
    std::string head;  // all of it
    std::string parameter(std::string_view name) const;
    bool is_watch() const { return !parameter("watch").empty(); }
  };
  class Connection {
   public:
    using Stream = boost::asio::ssl::stream<boost::asio::ip::tcp::socket>;
    explicit Connection(Stream& stream) : stream_(stream) {}
    // False: the client is gone.
    bool send(std::string_view text);
    void answer(int status, std::string_view body);
    // The head of an answer in chunks; each event a chunk, or in two where `split` is inside it.
    void begin_events();
    bool event(const std::string& line, size_t split = std::string::npos);
    void end_events() { send("0\r\n\r\n"); }
    // Until the client hangs up.
    void hold();

   private:
    Stream& stream_;
  };
  // `n` counts requests from 0. What it returns from is closed.
  using Script = std::function<void(size_t n, const Request& request, Connection& connection)>;

  // The certificate is for `certified_name`, e.g. "IP:127.0.0.1".
  explicit ApiStandIn(Script script, const std::string& certified_name = "IP:127.0.0.1");
  ~ApiStandIn();
  ApiStandIn(const ApiStandIn&) = delete;
  ApiStandIn& operator=(const ApiStandIn&) = delete;

  ApiServer server() const;
  void write_token(const std::string& token) const;
  // Waits until there have been so many; false after 20 s.
  bool wait_for_requests(size_t n);
  std::vector<Request> requests();

 private:
  void serve();

  const Script script_;
  std::filesystem::path directory_;
  boost::asio::io_context io_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::ssl::context context_{boost::asio::ssl::context::tls_server};
  std::mutex mutex_;
  std::condition_variable more_;
  std::vector<Request> requests_;
  bool stopping_ = false;
  std::vector<std::thread> connections_;
  std::thread thread_;  // last
};

}  // namespace goheapd::k8s

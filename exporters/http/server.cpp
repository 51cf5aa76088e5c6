#include "exporters/http/server.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <list>
#include <mutex>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>

#include "daemon/base/unique_fd.h"
#include "exporters/http/access.h"
#include "exporters/http/address.h"
#include "exporters/http/connection.h"

namespace goheapd::exporters::http {
namespace {

// How often running requests are looked at for clients that left.
constexpr int kWatchIntervalMs = 250;
// How long to leave the backlog alone after accept(2) ran out of descriptors or memory.
constexpr int kShortageMs = 100;

// Blocks every signal for the threads that are started in its scope.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

struct Connection {
  UniqueFd socket;  // closed only after the thread was joined, so that its number is not used again too early
  std::stop_source stop;
  std::atomic<bool> answering{false};
  std::atomic<bool> ended{false};
  std::thread thread;
};

bool peer_left(int socket) {
  pollfd entry{socket, POLLRDHUP, 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

}  // namespace

class Server::Impl {
 public:
  static Expected<std::unique_ptr<Impl>> start(const ServerOptions& options, Router router) {
    std::unique_ptr<Impl> impl(new Impl(std::move(router), options.max_connections));
    if (options.listen_addresses.empty()) return fail("no listen address given");
    auto access = AccessControl::open(options.web_config_file);
    if (!access) return tl::unexpected(access.error());
    impl->access_ = std::move(*access);
    for (const std::string& text : options.listen_addresses) {
      auto socket = parse_listen_address(text).and_then(listen_on);
      if (!socket) return tl::unexpected(socket.error());
      impl->addresses_.push_back(bound_address(socket->get()));
      impl->listeners_.push_back(std::move(*socket));
    }
    impl->wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!impl->wake_) return fail("cannot create an eventfd", {}, errno);
    const SignalsBlocked blocked;
    impl->acceptor_ = std::thread([raw = impl.get()] { raw->run(); });
    return impl;
  }

  ~Impl() { stop(); }

  void stop() {
    const std::lock_guard lock(stop_mutex_);
    if (!acceptor_.joinable()) return;
    stopping_ = true;
    wake();
    acceptor_.join();
  }

  const std::vector<std::string>& addresses() const { return addresses_; }
  bool uses_tls() const { return access_->uses_tls(); }

 private:
  Impl(Router router, size_t max_connections)
      : router_(std::move(router)), max_connections_(max_connections) {}

  void wake() const {
    const uint64_t one = 1;
    // Fails only when the counter is full: then the acceptor is about to wake anyway.
    static_cast<void>(!::write(wake_.get(), &one, sizeof(one)));
  }

  void run() {
    bool shortage = false;
    while (!stopping_) {
      std::vector<pollfd> entries = {{wake_.get(), POLLIN, 0}};
      if (!shortage) {
        for (const UniqueFd& listener : listeners_) entries.push_back({listener.get(), POLLIN, 0});
      }
      const int timeout = shortage ? kShortageMs : connections_.empty() ? -1 : kWatchIntervalMs;
      if (::poll(entries.data(), entries.size(), timeout) < 0 && errno != EINTR) break;
      shortage = false;
      uint64_t wakes = 0;
      static_cast<void>(!::read(wake_.get(), &wakes, sizeof(wakes)));
      for (size_t i = 1; i < entries.size(); ++i) {
        if (entries[i].revents != 0 && !accept_all(entries[i].fd)) shortage = true;
      }
      look_after_connections();
    }
    listeners_.clear();
    for (Connection& connection : connections_) {
      connection.stop.request_stop();
      ::shutdown(connection.socket.get(), SHUT_RDWR);
    }
    for (Connection& connection : connections_) connection.thread.join();
    connections_.clear();
  }

  // False: out of descriptors or memory; what waits in the backlog has to wait longer.
  bool accept_all(int listener) {
    for (;;) {
      UniqueFd socket(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (socket) {
        start_connection(std::move(socket));
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        return false;
      } else if (errno != EINTR && errno != ECONNABORTED) {
        return true;
      }
    }
  }

  void start_connection(UniqueFd socket) {
    if (connections_.size() >= max_connections_) {
      if (!uses_tls()) {
        const Response busy = error_response(503, "too many connections; try again");
        const std::string bytes = serialize_head(busy, false) + busy.body;
        static_cast<void>(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
      }
      return;
    }
    Connection& connection = connections_.emplace_back();
    connection.socket = std::move(socket);
    try {
      connection.thread = std::thread([this, &connection] {
        serve_connection(connection.socket.get(), router_, *access_, connection.stop.get_token(),
                         connection.answering);
        ::shutdown(connection.socket.get(), SHUT_RDWR);  // the client need not wait for our close(2)
        connection.ended = true;
        wake();
      });
    } catch (const std::system_error&) {  // no more threads
      connections_.pop_back();
    }
  }

  void look_after_connections() {
    for (auto it = connections_.begin(); it != connections_.end();) {
      if (it->ended) {
        it->thread.join();
        it = connections_.erase(it);
        continue;
      }
      if (it->answering.load(std::memory_order_relaxed) && peer_left(it->socket.get()))
        it->stop.request_stop();
      ++it;
    }
  }

  // Connections use everything above them: they are joined by stop() before anything goes.
  const Router router_;
  const size_t max_connections_;
  std::unique_ptr<AccessControl> access_;
  std::vector<std::string> addresses_;
  std::vector<UniqueFd> listeners_;
  UniqueFd wake_;
  std::atomic<bool> stopping_{false};
  std::list<Connection> connections_;  // the acceptor's own
  std::mutex stop_mutex_;
  std::thread acceptor_;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Expected<std::unique_ptr<Server>> Server::start(const ServerOptions& options, Router router) {
  auto impl = Impl::start(options, std::move(router));
  if (!impl) return tl::unexpected(impl.error());
  return std::unique_ptr<Server>(new Server(std::move(*impl)));
}

const std::vector<std::string>& Server::addresses() const { return impl_->addresses(); }
bool Server::uses_tls() const { return impl_->uses_tls(); }
void Server::stop() { impl_->stop(); }

}  // namespace goheapd::exporters::http

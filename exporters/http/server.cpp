#include "exporters/http/server.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <csignal>
#include <exception>
#include <list>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "daemon/base/task_queue.h"
#include "exporters/http/access.h"
#include "exporters/http/listener.h"
#include "exporters/http/session.h"

namespace goheapd::exporters::http {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

// How long to leave the backlog alone after accept(2) failed, mostly for want of descriptors or memory.
constexpr std::chrono::milliseconds kShortage{100};
// Connections above the limit that are told so; what comes on top of these is closed without a word.
constexpr size_t kMaxRefused = 16;
// What a client has for reading an answer before it may have to make room for another client.
constexpr std::chrono::seconds kReadingTime{5};

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

struct Listener {
  explicit Listener(tcp::acceptor from) : acceptor(std::move(from)), retry(acceptor.get_executor()) {}
  tcp::acceptor acceptor;
  boost::asio::steady_timer retry;
};

// Asio's way to say that there are no descriptors or threads left.
Unexpected cannot_start(const std::exception& error) {
  return fail(std::string("cannot start the HTTP server, ") + error.what());
}

}  // namespace

class Server::Impl {
 public:
  Impl(std::unique_ptr<AccessControl> access, const ServerOptions& options)
      : access_(std::move(access)),
        max_connections_(std::max<size_t>(1, options.max_connections)),
        deadlines_(options.deadlines) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { stop(); }

  Expected<void> listen(const std::string& text) {
    auto acceptor =
        parse_listen_address(text).and_then([this](const ListenAddress& a) { return listen_on(io_, a); });
    if (!acceptor) return tl::unexpected(acceptor.error());
    addresses_.push_back(bound_address(*acceptor));
    listeners_.emplace_back(std::move(*acceptor));
    return {};
  }

  void run(Router router) {
    const SignalsBlocked blocked;
    router_.emplace(std::move(router));
    workers_.emplace(static_cast<unsigned>(max_connections_));
    shared_.emplace(Session::Shared{*router_, *access_, *workers_, deadlines_});
    for (Listener& listener : listeners_) accept(listener);
    thread_ = std::thread([this] { take_steps(); });
  }

  void stop() {
    const std::lock_guard lock(stop_mutex_);
    if (!thread_.joinable()) return;
    boost::asio::post(io_, [this] {
      listeners_.clear();
      for (const auto* sessions : {&served_, &refused_}) {
        for (const auto& session : *sessions) {
          if (const auto alive = session.lock()) alive->stop();
        }
      }
      io_.stop();
    });
    thread_.join();
    // Nobody posts to the workers any more; handlers that run have been told to stop. What they still post to
    // io_ goes with it.
    workers_.reset();
  }

  const std::vector<std::string>& addresses() const { return addresses_; }
  bool uses_tls() const { return access_->uses_tls(); }
  AccessControl& access() const { return *access_; }

 private:
  void take_steps() {
    for (;;) {
      try {
        io_.run();  // until io_.stop()
        return;
      } catch (const std::exception& error) {  // out of memory: the step's session is gone with it
        spdlog::error("a connection failed: {}", error.what());
      }
    }
  }

  void accept(Listener& listener) {
    listener.acceptor.async_accept([this, &listener](error_code error, tcp::socket socket) {
      if (error == boost::asio::error::operation_aborted) return;  // the listener is gone
      if (error) return accept_later(listener);
      accept(listener);
      start_session(std::move(socket));
    });
  }

  void accept_later(Listener& listener) {
    listener.retry.expires_after(kShortage);
    listener.retry.async_wait([this, &listener](error_code error) {
      if (!error) accept(listener);
    });
  }

  void start_session(tcp::socket socket) {
    close_on_exec(socket.native_handle());
    for (auto* sessions : {&served_, &refused_})
      std::erase_if(*sessions, [](const auto& session) { return session.expired(); });
    if (served_.size() >= max_connections_) make_room();
    if (served_.size() < max_connections_) {
      served_.push_back(Session::start(std::move(socket), *shared_, Session::Admission::served));
    } else if (refused_.size() < kMaxRefused) {
      refused_.push_back(Session::start(std::move(socket), *shared_, Session::Admission::refused));
    }
  }

  // Ends the session that has owed us a request for longest, else the one that has been reading its answer for
  // longest. So those who keep connections without using them do not keep out anybody else, a service's health probe
  // least of all; and who asks at once is not ended, however many others come.
  void make_room() {
    const auto now = std::chrono::steady_clock::now();
    std::shared_ptr<Session> worst;
    for (const auto& entry : served_) {
      auto session = entry.lock();
      if (!session) continue;
      const Session::State& state = session->state();
      if (state.waits == Session::Waits::for_answer ||
          (state.waits == Session::Waits::for_reader && now - state.since < kReadingTime))
        continue;
      const auto rank = [](const Session& s) { return std::pair(s.state().waits, s.state().since); };
      if (!worst || rank(*session) < rank(*worst)) worst = std::move(session);
    }
    if (!worst) return;
    worst->stop();
    std::erase_if(served_, [&worst](const auto& entry) { return entry.lock() == worst; });
  }

  std::optional<const Router> router_;  // none: not serving yet
  const std::unique_ptr<AccessControl> access_;
  const size_t max_connections_;
  const Deadlines deadlines_;
  std::vector<std::string> addresses_;
  // Sessions live in the steps that io_ has still to take, and listeners are io_'s too. Sessions use what is
  // above, and the workers use io_, so they end in the opposite order.
  boost::asio::io_context io_{1};
  std::list<Listener> listeners_;               // the I/O thread's own, as the next two
  std::vector<std::weak_ptr<Session>> served_;  // some have ended
  std::vector<std::weak_ptr<Session>> refused_;
  std::optional<WorkerPool> workers_;
  std::optional<Session::Shared> shared_;
  std::mutex stop_mutex_;
  std::thread thread_;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Expected<std::unique_ptr<Server>> Server::listen(const ServerOptions& options) {
  if (options.listen_addresses.empty()) return fail("no listen address given");
  auto access = AccessControl::open(options.web_config_file);
  if (!access) return tl::unexpected(access.error());
  try {
    auto impl = std::make_unique<Impl>(std::move(*access), options);
    for (const std::string& text : options.listen_addresses) {
      if (auto listening = impl->listen(text); !listening) return tl::unexpected(listening.error());
    }
    return std::unique_ptr<Server>(new Server(std::move(impl)));
  } catch (const std::exception& error) {
    return cannot_start(error);
  }
}

Expected<void> Server::serve(Router router) {
  try {
    impl_->run(std::move(router));
    return {};
  } catch (const std::exception& error) {
    return cannot_start(error);
  }
}

Expected<std::unique_ptr<Server>> Server::start(const ServerOptions& options, Router router) {
  auto server = listen(options);
  if (!server) return server;
  if (auto serving = (*server)->serve(std::move(router)); !serving) return tl::unexpected(serving.error());
  return server;
}

const std::vector<std::string>& Server::addresses() const { return impl_->addresses(); }
bool Server::uses_tls() const { return impl_->uses_tls(); }
Expected<void> Server::reload_web_config() { return impl_->access().reload(); }
std::optional<WebConfigStatus> Server::web_config_status() const { return impl_->access().status(); }
void Server::stop() { impl_->stop(); }

}  // namespace goheapd::exporters::http

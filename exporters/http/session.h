// One connection, from the first byte to the last.
//
//   TLS handshake ▶ wait for a request ▶ read its head ▶ make the answer ▶ send it ─┬▶ say goodbye, read away
//                     ▲                                   (worker thread)           │   the rest, close
//                     └─────────────────────── keep-alive ──────────────────────────┘
//
// Every step but the answer's making is asynchronous, on the server's I/O thread, and has a deadline, so that
// a client that dribbles or does not read costs a socket for seconds and never a thread. While the
// answer is made, the client is watched: when it hangs up, Request::stop is requested.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <memory>

#include "daemon/base/task_queue.h"
#include "exporters/http/access.h"
#include "exporters/http/limits.h"
#include "exporters/http/router.h"

namespace goheapd::exporters::http {

// A session lives for as long as a step of it is under way; nobody else owns it. All calls on the I/O thread.
class Session {
 public:
  // What all sessions of one server use. Outlives their steps.
  struct Shared {
    const Router& router;
    AccessControl& access;
    WorkerPool& workers;
    const Deadlines deadlines;
  };
  // `refused`: there are too many connections, and the first request is answered 503.
  enum class Admission { served, refused };

  // Takes the first step; it speaks TLS if `shared.access` says so.
  static std::weak_ptr<Session> start(boost::asio::ip::tcp::socket socket, Shared& shared,
                                      Admission admission);

  virtual ~Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Whom the connection waits for, and since when.
  enum class Waits : unsigned char { for_request, for_reader, for_answer };
  struct State {
    Waits waits = Waits::for_request;
    std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
  };
  const State& state() const { return state_; }

  // Cancels whatever is under way and closes the socket.
  virtual void stop() = 0;

 protected:
  Session() = default;
  void now_waits(Waits waits) { state_ = {waits}; }

 private:
  State state_;
};

}  // namespace goheapd::exporters::http

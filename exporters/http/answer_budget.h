// What large answers may take of this host. Making one takes a core and memory for a moment; holding it until a slow
// client has read it takes memory for as long as that is, and there may be a hundred such clients.
//
//   wait for a turn ▶ make the answer ▶ wait until it may be held ▶ leave the turn ▶ send ▶ hold it no more
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <stop_token>

#include "exporters/http/limits.h"
#include "exporters/http/message.h"

namespace goheapd::exporters::http {

// Thread safe. What it gives out must not outlive it.
class AnswerBudget {
 public:
  // Those who ask for profiles do not keep a scraper waiting.
  enum class Kind : unsigned char { table, profile };
  // A turn to make one answer, until it is destroyed.
  using Turn = std::shared_ptr<const void>;

  explicit AnswerBudget(size_t max_held_bytes) : max_held_bytes_(max_held_bytes) {}
  AnswerBudget(const AnswerBudget&) = delete;
  AnswerBudget& operator=(const AnswerBudget&) = delete;

  // Waits; null: it took too long, or was told to stop.
  Turn enter(Kind kind, const std::stop_token& stop);
  // Counts the answer's body, packed where `request` likes it so (apply_content_coding()), as held for as long as
  // Response::held lives. Where others hold too much and do not let go of it soon, the answer becomes busy().
  void hold(const Request& request, Response& response);
  // More than half of what may be held is: who reads slowly gets less time.
  bool is_scarce() const;

 private:
  void leave(Kind kind);
  void let_go(size_t bytes);

  const size_t max_held_bytes_;
  mutable std::mutex mutex_;  // guards the rest
  std::array<int, 2> making_{};
  size_t held_bytes_ = 0;
  std::condition_variable_any turn_is_free_;
  std::condition_variable_any bytes_are_free_;
};

// 503 with Retry-After.
Response busy(std::string_view message);

}  // namespace goheapd::exporters::http

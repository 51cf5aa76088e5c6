#include "exporters/http/answer_budget.h"

#include <string>

#include "exporters/http/content_coding.h"

namespace goheapd::exporters::http {
namespace {

constexpr int kMaxMaking = 4;  // of each kind
constexpr std::chrono::seconds kTurnPatience{20};
// Longer than a slow reader is given where bytes are scarce, so that some are free by then.
constexpr std::chrono::seconds kHoldPatience{8};
// Smaller ones are not counted: with as many connections as there may be they come to two megabytes.
constexpr size_t kSmallBytes = 16 * 1024;

}  // namespace

AnswerBudget::Turn AnswerBudget::enter(Kind kind, const std::stop_token& stop) {
  const auto slot = static_cast<size_t>(kind);
  std::unique_lock lock(mutex_);
  if (!turn_is_free_.wait_for(lock, stop, kTurnPatience, [&] { return making_[slot] < kMaxMaking; }))
    return nullptr;
  ++making_[slot];
  lock.unlock();
  // Calls the deleter, too, when it finds no memory for itself.
  return Turn(this, [this, kind](const void*) { leave(kind); });
}

void AnswerBudget::leave(Kind kind) {
  {
    const std::lock_guard lock(mutex_);
    --making_[static_cast<size_t>(kind)];
  }
  turn_is_free_.notify_all();  // they wait for turns of different kinds
}

void AnswerBudget::hold(const Request& request, Response& response) {
  apply_content_coding(request, response);
  const size_t bytes = response.body.size();
  if (bytes <= kSmallBytes) return;
  std::unique_lock lock(mutex_);
  // One that is larger than all that may be held is held alone.
  const auto may_be_held = [&] { return held_bytes_ == 0 || held_bytes_ + bytes <= max_held_bytes_; };
  if (!bytes_are_free_.wait_for(lock, request.stop, kHoldPatience, may_be_held)) {
    response = busy("too many large answers wait for their clients to read them; try later");
    return;
  }
  held_bytes_ += bytes;
  lock.unlock();
  response.held = std::shared_ptr<const void>(this, [this, bytes](const void*) { let_go(bytes); });
}

void AnswerBudget::let_go(size_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    held_bytes_ -= bytes;
  }
  bytes_are_free_.notify_all();
}

bool AnswerBudget::is_scarce() const {
  const std::lock_guard lock(mutex_);
  return held_bytes_ > max_held_bytes_ / 2;
}

Response busy(std::string_view message) {
  Response response = error_response(503, message);
  response.headers.emplace_back("Retry-After", "5");
  return response;
}

}  // namespace goheapd::exporters::http

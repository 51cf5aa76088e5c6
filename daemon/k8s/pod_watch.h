// Keeps a PodDirectory equal to what the API server knows of one node's pods.
//
//         ┌───────────────── too old (410), or an answer that makes no sense ───────────────┐
//         ▼                                                                                  │
//   list all pods of the node ──▶ watch from the list's version ──▶ added, modified, deleted, bookmark
//         ▲        │                       ▲          │
//         └ pause ─┘ failed                └─ pause ──┘ ended or broke off: go on from the last version seen
//
// https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "daemon/k8s/api_client.h"
#include "daemon/k8s/pod_directory.h"

namespace goheapd::k8s {

enum class WatchFailure : unsigned char { connection, denied, refused, expired, bad_answer };
inline constexpr std::array<std::string_view, 5> kWatchFailureNames = {"connection", "denied", "refused",
                                                                       "expired", "bad_answer"};

struct WatchTimes {
  std::chrono::milliseconds first_pause{500};  // after a failure; doubled by each further one
  std::chrono::milliseconds longest_pause{30'000};
  std::chrono::seconds watch{290};                 // the server is asked to end each watch after about this
  std::chrono::milliseconds list_silence{30'000};  // how long the server may say nothing while it lists
};

class PodWatch {
 public:
  // Starts the thread. `directory` must outlive the watch and belongs to it.
  PodWatch(ApiServer server, std::string node, PodDirectory& directory, WatchTimes times = {});
  ~PodWatch();
  PodWatch(const PodWatch&) = delete;
  PodWatch& operator=(const PodWatch&) = delete;

  // The directory has been complete once.
  bool synced() const { return synced_; }
  // The last request succeeded: the directory is as the server has it.
  bool current() const { return current_; }
  uint64_t lists() const { return lists_; }
  uint64_t watches() const { return watches_; }
  uint64_t failures(WatchFailure failure) const { return failures_[static_cast<size_t>(failure)]; }

 private:
  enum class Outcome : unsigned char { done, failed, expired };

  void run(std::stop_token stop);
  Outcome list();
  Outcome watch();
  // One line of a watch.
  Outcome take_event(std::string_view line);
  Outcome fail_with(WatchFailure failure, const std::string& message);
  Outcome refused(const ApiAnswer& answer);
  void pause();
  std::string query() const;

  const std::string node_;
  PodDirectory& directory_;
  const WatchTimes times_;
  ApiClient client_;

  // The thread's own.
  std::stop_token stop_;
  std::string version_ = "0";  // "0": whatever the server has in memory; "": the latest
  std::chrono::milliseconds pause_;
  std::string last_message_;  // said once, not every 30 s

  std::atomic<bool> synced_{false};
  std::atomic<bool> current_{false};
  std::atomic<uint64_t> lists_{0};
  std::atomic<uint64_t> watches_{0};
  std::array<std::atomic<uint64_t>, kWatchFailureNames.size()> failures_{};
  std::mutex pause_mutex_;
  std::condition_variable_any pause_over_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace goheapd::k8s

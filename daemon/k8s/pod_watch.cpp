#include "daemon/k8s/pod_watch.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "daemon/k8s/pod_json.h"

namespace goheapd::k8s {
namespace {

using std::chrono::milliseconds;

// 110 pods, the kubelet's default limit, are about 2 MB; etcd keeps objects below 1.5 MB.
constexpr size_t kMaxListBytes = 64 << 20;
constexpr size_t kMaxEventBytes = 4 << 20;
// Of a list that the server does not have in memory; it may send all the same.
constexpr int kPageSize = 100;
constexpr int kMaxPages = 100;
constexpr int kGone = 410;
// What the server may be late with the end that it was asked for.
constexpr std::chrono::seconds kWatchGrace{30};

std::string percent_encode(std::string_view text) {
  static constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  static constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    if (kPlain.find(c) != std::string_view::npos) {
      encoded += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      encoded += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return encoded;
}

// Thousands of nodes must not come back at the same moment.
milliseconds spread(milliseconds time) {
  thread_local std::minstd_rand random{std::random_device{}()};
  return std::chrono::duration_cast<milliseconds>(time * std::uniform_real_distribution<>(0.5, 1.0)(random));
}

}  // namespace

PodWatch::PodWatch(ApiServer server, std::string node, PodDirectory& directory, WatchTimes times)
    : node_(std::move(node)),
      directory_(directory),
      times_(times),
      client_(std::move(server)),
      pause_(times.first_pause),
      thread_([this](std::stop_token stop) { run(std::move(stop)); }) {}

PodWatch::~PodWatch() {
  thread_.request_stop();
  client_.interrupt();
}

void PodWatch::run(std::stop_token stop) {
  stop_ = std::move(stop);
  bool listed = false;
  while (!stop_.stop_requested()) {
    const Outcome outcome = listed ? watch() : list();
    if (stop_.stop_requested()) return;
    current_ = outcome == Outcome::done;
    if (outcome == Outcome::expired) {
      // Not "0" again: the server's memory may be as old as what has expired.
      version_.clear();
      listed = false;
    } else if (outcome == Outcome::done) {
      listed = true;
      pause_ = times_.first_pause;
      continue;
    }
    pause();
  }
}

std::string PodWatch::query() const {
  return "/api/v1/pods?fieldSelector=" + percent_encode("spec.nodeName=" + node_);
}

PodWatch::Outcome PodWatch::fail_with(WatchFailure failure, const std::string& message) {
  if (stop_.stop_requested()) return Outcome::failed;  // we broke it off ourselves
  ++failures_[static_cast<size_t>(failure)];
  const auto level =
      std::exchange(last_message_, message) == message ? spdlog::level::debug : spdlog::level::warn;
  spdlog::log(level, "pods of node {}: {}", node_, message);
  return failure == WatchFailure::connection || failure == WatchFailure::denied ||
                 failure == WatchFailure::refused
             ? Outcome::failed
             : Outcome::expired;
}

PodWatch::Outcome PodWatch::refused(const ApiAnswer& answer) {
  const std::string reason = text_at(parse_api_json(answer.error_text, ApiJson::other), {"message"});
  std::string message = "the API server answers " + std::to_string(answer.status) +
                        (reason.empty() ? std::string() : ": " + reason.substr(0, 300));
  if (answer.status == kGone) return fail_with(WatchFailure::expired, message);
  if (answer.status == 401 || answer.status == 403) {
    return fail_with(WatchFailure::denied,
                     message + "; goheapd's service account needs get, list and watch on pods");
  }
  return fail_with(WatchFailure::refused, message);
}

PodWatch::Outcome PodWatch::list() {
  ++lists_;
  std::vector<model::Pod> pods;
  std::string version;
  std::string next;
  int pages = 0;
  do {
    std::string body;
    std::string target = query() + "&limit=" + std::to_string(kPageSize);
    target +=
        next.empty() ? "&resourceVersion=" + percent_encode(version_) : "&continue=" + percent_encode(next);
    const auto answer = client_.get(target, times_.list_silence, [&body](std::string_view piece) {
      body += piece;
      return body.size() <= kMaxListBytes;
    });
    if (!answer) return fail_with(WatchFailure::connection, to_string(answer.error()));
    if (answer->status != 200) return refused(*answer);
    const auto list = parse_api_json(body, ApiJson::list);
    const auto items = list.is_object() ? list.find("items") : list.end();
    version = text_at(list, {"metadata", "resourceVersion"});
    // "items" is null where there are none.
    if (!list.is_object() || version.empty() || items == list.end()) {
      return fail_with(WatchFailure::bad_answer, "the API server's list of pods makes no sense");
    }
    for (const auto& item : *items) {
      if (auto pod = pod_of(item)) pods.push_back(std::move(*pod));
    }
    next = text_at(list, {"metadata", "continue"});
  } while (!next.empty() && ++pages < kMaxPages);
  spdlog::info("node {} has {} pods", node_, pods.size());
  directory_.replace(std::move(pods));
  version_ = version;
  last_message_.clear();
  synced_ = true;
  current_ = true;
  return Outcome::done;
}

PodWatch::Outcome PodWatch::watch() {
  ++watches_;
  const auto began = std::chrono::steady_clock::now();
  std::string line;
  Outcome outcome = Outcome::done;
  const auto seconds =
      std::max<long>(1, std::chrono::duration_cast<std::chrono::seconds>(spread(times_.watch)).count());
  const std::string target = query() +
                             "&watch=1&allowWatchBookmarks=true&resourceVersion=" + percent_encode(version_) +
                             "&timeoutSeconds=" + std::to_string(seconds);
  const auto answer =
      client_.get(target, std::chrono::seconds(seconds) + kWatchGrace, [&](std::string_view piece) {
        current_ = true;
        while (!piece.empty() && outcome == Outcome::done) {
          const auto end = piece.find('\n');
          line += piece.substr(0, end);
          if (line.size() > kMaxEventBytes) {
            outcome = fail_with(WatchFailure::bad_answer, "the API server sends an event without end");
          }
          if (end == std::string_view::npos) break;
          piece.remove_prefix(end + 1);
          if (outcome == Outcome::done) outcome = take_event(line);
          line.clear();
        }
        return outcome == Outcome::done;
      });
  if (outcome != Outcome::done) return outcome;
  if (answer && answer->status != 200) return refused(*answer);
  if (!answer) return fail_with(WatchFailure::connection, to_string(answer.error()));
  // A server that ends each watch at once is not to be asked again at once.
  if (std::chrono::steady_clock::now() - began < times_.first_pause) return Outcome::failed;
  return Outcome::done;
}

PodWatch::Outcome PodWatch::take_event(std::string_view line) {
  const auto event = parse_api_json(line, ApiJson::event);
  const std::string type = text_at(event, {"type"});
  const auto object = event.is_object() ? event.find("object") : event.end();
  if (type.empty() || object == event.end()) {
    return fail_with(WatchFailure::bad_answer, "the API server sends an event that makes no sense");
  }
  if (type == "ERROR") {
    const auto code = object->is_object() ? object->find("code") : object->end();
    const bool gone = object->is_object() && code != object->end() && *code == kGone;
    const std::string message = "the watch ended: " + text_at(*object, {"message"}).substr(0, 300);
    return fail_with(gone ? WatchFailure::expired : WatchFailure::refused, message);
  }
  if (auto pod = type == "BOOKMARK" ? std::nullopt : pod_of(*object)) {
    if (type == "DELETED") {
      directory_.remove(pod->uid);
    } else {
      directory_.put(std::move(*pod));
    }
  }
  if (std::string version = text_at(*object, {"metadata", "resourceVersion"}); !version.empty()) {
    version_ = std::move(version);
  }
  return Outcome::done;
}

void PodWatch::pause() {
  std::unique_lock lock(pause_mutex_);
  pause_over_.wait_for(lock, stop_, spread(pause_), [] { return false; });
  pause_ = std::min(2 * pause_, times_.longest_pause);
}

}  // namespace goheapd::k8s

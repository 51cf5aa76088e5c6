#include "daemon/k8s/container_id.h"

#include <algorithm>

namespace goheapd::k8s {
namespace {

constexpr size_t kIdDigits = 64;
constexpr size_t kUidLength = 36;   // 8-4-4-4-12
constexpr size_t kHashDigits = 32;  // static pods: the MD5 of their manifest; tasks of ECS: their id
constexpr size_t kMaxNumberDigits = 20;

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }
bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return is_hex(c); });
}

bool drop_suffix(std::string_view& text, std::string_view suffix) {
  if (!text.ends_with(suffix)) return false;
  text.remove_suffix(suffix.size());
  return true;
}

// "podUID" or "...-podUID", systemd's "_" for "-" undone. Empty: something else.
std::string pod_uid_of(std::string_view element) {
  drop_suffix(element, ".slice");
  const auto at = element.rfind("pod");
  if (at == std::string_view::npos || (at != 0 && element[at - 1] != '-')) return {};
  std::string uid(element.substr(at + 3));
  std::replace(uid.begin(), uid.end(), '_', '-');
  if (uid.size() == kHashDigits && is_hex(uid)) return uid;
  if (uid.size() != kUidLength) return {};
  for (size_t i = 0; i < uid.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? uid[i] != '-' : !is_hex(uid[i])) return {};
  }
  return uid;
}

// "TASK-NUMBER", which is what ECS calls a container on Fargate.
bool is_task_container(std::string_view element) {
  if (element.size() < kHashDigits + 2 || element[kHashDigits] != '-') return false;
  const std::string_view number = element.substr(kHashDigits + 1);
  return is_hex(element.substr(0, kHashDigits)) &&
         number.find_first_not_of("0123456789") == std::string_view::npos &&
         number.size() <= kMaxNumberDigits;
}

// "ID", "RUNTIME-ID.scope", "RUNTIME-ID" or "TASK-NUMBER". Empty: something else.
std::string_view container_id_of(std::string_view element) {
  if (element.ends_with(".slice")) return {};  // podman's pods have ids too: machine-libpod_pod_ID.slice
  drop_suffix(element, ".scope");
  if (is_task_container(element)) return element;
  if (element.size() < kIdDigits) return {};
  const std::string_view id = element.substr(element.size() - kIdDigits);
  const std::string_view runtime = element.substr(0, element.size() - kIdDigits);
  if (!is_hex(id) || (!runtime.empty() && !runtime.ends_with('-'))) return {};
  // crio-conmon-ID and libpod-conmon-ID hold the runtime's monitor of the container, which is not in it.
  return runtime.ends_with("conmon-") ? std::string_view{} : id;
}

}  // namespace

Placement placement_of_path(std::string_view path) {
  Placement placement;
  bool in_pod_container = false;
  while (!path.empty()) {
    // ":" separates as well: runc's way to write slice and scope, taken for a name where the drivers are at odds.
    const auto end = path.find_first_of("/:");
    const std::string_view element = path.substr(0, end);
    path.remove_prefix(end == std::string_view::npos ? path.size() : end + 1);
    if (std::string uid = pod_uid_of(element); !uid.empty()) {
      // A node that is itself a container (kind) has it above the pod: only what is below counts.
      placement = {std::move(uid), {}};
      in_pod_container = false;
    } else if (const auto id = container_id_of(element); !id.empty() && !in_pod_container) {
      // Below a pod's container there may be more (Docker in a pod), of which the pod knows nothing.
      placement.container_id = id;
      in_pod_container = !placement.pod_uid.empty();
    }
  }
  return placement;
}

Placement placement_of(const std::vector<std::string>& cgroup_paths) {
  Placement best;
  const auto rank = [](const Placement& p) {
    return (p.container_id.empty() ? 0 : 2) + (p.pod_uid.empty() ? 0 : 1);
  };
  for (const std::string& path : cgroup_paths) {
    if (Placement found = placement_of_path(path); rank(found) > rank(best)) best = std::move(found);
  }
  return best;
}

}  // namespace goheapd::k8s

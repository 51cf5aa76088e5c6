#include "daemon/k8s/pod_logs.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "daemon/k8s/container_id.h"

namespace goheapd::k8s {
namespace {

namespace fs = std::filesystem;

// The longest name of a Kubernetes object (RFC 1123 subdomain).
constexpr size_t kMaxNameLength = 253;

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNameLength &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-") == std::string_view::npos;
}

// Up to the next "_", which is dropped; all of it where there is none.
std::string_view take_part(std::string_view& text) {
  const auto end = text.find('_');
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return part;
}

// Calls visit(entry) for at most `max_entries`; the error of opening the directory.
template <typename Visit>
std::error_code for_each_entry(const fs::path& directory, size_t max_entries, Visit visit) {
  std::error_code error;
  fs::directory_iterator entry(directory, error);
  if (error) return error;
  while (entry != fs::directory_iterator() && max_entries-- > 0) {
    visit(*entry);
    entry.increment(error);
    if (error) break;
  }
  return {};
}

}  // namespace

std::optional<model::Pod> parse_container_log_name(std::string_view name) {
  if (!name.ends_with(".log")) return std::nullopt;
  name.remove_suffix(4);
  model::Pod pod;
  pod.name = take_part(name);
  pod.namespace_name = take_part(name);
  const auto dash = name.rfind('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::string_view id = name.substr(dash + 1);
  if (placement_of_path(id).container_id != id || id.empty()) return std::nullopt;
  pod.containers.push_back({std::string(name.substr(0, dash)), std::string(id)});
  if (!is_name(pod.name) || !is_name(pod.namespace_name) || !is_name(pod.containers.front().name)) {
    return std::nullopt;
  }
  return pod;
}

std::optional<model::Pod> parse_pod_log_name(std::string_view name) {
  model::Pod pod;
  pod.namespace_name = take_part(name);
  pod.name = take_part(name);
  pod.uid = name;
  if (!is_name(pod.namespace_name) || !is_name(pod.name)) return std::nullopt;
  if (placement_of_path("pod" + pod.uid).pod_uid != pod.uid || pod.uid.empty()) return std::nullopt;
  return pod;
}

Expected<std::vector<model::Pod>> read_pod_logs(const std::string& log_directory, size_t max_entries) {
  std::map<std::pair<std::string, std::string>, model::Pod> pods;  // by namespace and name
  const auto without_pods =
      for_each_entry(log_directory + "/pods", max_entries, [&](const fs::directory_entry& entry) {
        auto pod = parse_pod_log_name(entry.path().filename().native());
        if (!pod) return;
        for_each_entry(entry.path(), max_entries, [&](const fs::directory_entry& container) {
          const std::string name = container.path().filename().native();
          if (is_name(name)) pod->containers.push_back({name, {}});
        });
        pods[{pod->namespace_name, pod->name}] = std::move(*pod);
      });
  const auto without_links =
      for_each_entry(log_directory + "/containers", max_entries, [&](const fs::directory_entry& entry) {
        auto link = parse_container_log_name(entry.path().filename().native());
        if (!link) return;
        auto& pod = pods[{link->namespace_name, link->name}];
        if (pod.name.empty()) {
          pod = std::move(*link);
          pod.uid = pod.namespace_name + "/" + pod.name;
          return;
        }
        // A container that was restarted has several links, all of them right.
        auto& container = link->containers.front();
        std::erase_if(pod.containers,
                      [&](const auto& known) { return known.name == container.name && known.id.empty(); });
        pod.containers.push_back(std::move(container));
      });
  if (without_pods && without_links) {
    return fail("the kubelet's logs cannot be read", log_directory + "/containers", without_links.value());
  }
  std::vector<model::Pod> all;
  all.reserve(pods.size());
  for (auto& [name, pod] : pods) all.push_back(std::move(pod));
  return all;
}

}  // namespace goheapd::k8s

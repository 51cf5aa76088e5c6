#include "daemon/k8s/pod_json.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace goheapd::k8s {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 64;

const json* member(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

std::string text_of(const json* value) {
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

std::map<std::string, std::string> texts_of(const json* object, size_t max_bytes) {
  std::map<std::string, std::string> texts;
  if (object == nullptr || !object->is_object()) return texts;
  for (const auto& [key, value] : object->items()) {
    if (texts.size() >= kMaxLabelsPerPod) break;
    if (!value.is_string() || key.size() + value.get_ref<const std::string&>().size() > max_bytes) continue;
    texts.emplace(key, value.get<std::string>());
  }
  return texts;
}

void add_containers(const json& status, const char* key, std::vector<model::PodContainer>& containers) {
  const json* list = member(status, key);
  if (list == nullptr || !list->is_array()) return;
  for (const json& container : *list) {
    std::string id = text_of(member(container, "containerID"));  // "containerd://HEX"
    if (const auto scheme = id.find("://"); scheme != std::string::npos) id.erase(0, scheme + 3);
    if (std::string name = text_of(member(container, "name")); !name.empty()) {
      containers.push_back({std::move(name), std::move(id)});
    }
  }
}

model::Workload controller_of(const json& metadata) {
  const json* owners = member(metadata, "ownerReferences");
  if (owners == nullptr || !owners->is_array()) return {};
  for (const json& owner : *owners) {
    const json* controller = member(owner, "controller");
    if (controller == nullptr || !controller->is_boolean() || !controller->get<bool>()) continue;
    return {text_of(member(owner, "kind")), text_of(member(owner, "name"))};
  }
  return {};
}

// The name without "-SUFFIX"; empty where there is no such suffix.
std::string without_suffix(const std::string& name, const std::string& suffix) {
  if (suffix.empty() || name.size() <= suffix.size() + 1 || !name.ends_with("-" + suffix)) return {};
  return name.substr(0, name.size() - suffix.size() - 1);
}

}  // namespace

json parse_api_json(std::string_view text, ApiJson kind) {
  // Dropped here, they never take memory as a tree. The depth tells the members of metadata, spec and status from
  // labels, which may have any name.
  const int dropped_depth = kind == ApiJson::list ? 4 : kind == ApiJson::event ? 3 : 0;
  static constexpr std::array<std::string_view, 7> kUnused = {
      "managedFields", "volumes", "tolerations", "conditions", "initContainers", "containers", "affinity"};
  bool too_deep = false;
  json parsed = json::parse(
      text,
      [&too_deep, dropped_depth](int depth, json::parse_event_t event, json& value) {
        too_deep = too_deep || depth > kMaxDepth;
        if (event != json::parse_event_t::key || depth != dropped_depth) return !too_deep;
        const auto& key = value.get_ref<const std::string&>();
        return std::find(kUnused.begin(), kUnused.end(), key) == kUnused.end();
      },
      false);
  return too_deep ? json(json::value_t::discarded) : parsed;
}

std::string text_at(const json& object, std::initializer_list<const char*> keys) {
  const json* value = &object;
  for (const char* key : keys) {
    value = member(*value, key);
    if (value == nullptr) return {};
  }
  return text_of(value);
}

model::Workload workload_of(const model::Workload& controller, const std::string& template_hash) {
  if (controller.kind == "ReplicaSet") {
    std::string hash = template_hash;
    if (hash.empty()) {
      // A pod without the label; the alphabet is the one that Kubernetes writes hashes in.
      hash = controller.name.substr(std::min(controller.name.rfind('-'), controller.name.size() - 1) + 1);
      if (hash.size() < 6 || hash.size() > 10 ||
          hash.find_first_not_of("bcdfghjklmnpqrstvwxz2456789") != std::string::npos) {
        hash.clear();
      }
    }
    if (std::string name = without_suffix(controller.name, hash); !name.empty()) return {"Deployment", name};
  } else if (controller.kind == "Job") {
    // The scheduled time in minutes since 1970, in older releases in seconds.
    const std::string time = controller.name.substr(controller.name.rfind('-') + 1);
    const bool digits =
        std::all_of(time.begin(), time.end(), [](unsigned char c) { return std::isdigit(c); });
    if (digits && time.size() >= 8 && time.size() <= 10) {
      if (std::string name = without_suffix(controller.name, time); !name.empty()) return {"CronJob", name};
    }
  }
  return controller;
}

std::optional<model::Pod> pod_of(const json& object) {
  const json* metadata = member(object, "metadata");
  if (metadata == nullptr) return std::nullopt;
  model::Pod pod;
  pod.complete = true;
  pod.uid = text_of(member(*metadata, "uid"));
  pod.namespace_name = text_of(member(*metadata, "namespace"));
  pod.name = text_of(member(*metadata, "name"));
  if (pod.uid.empty() || pod.namespace_name.empty() || pod.name.empty()) return std::nullopt;
  pod.node = text_at(object, {"spec", "nodeName"});
  pod.labels = texts_of(member(*metadata, "labels"), kMaxAnnotationBytes);
  pod.annotations = texts_of(member(*metadata, "annotations"), kMaxAnnotationBytes);
  if (const auto hash = pod.annotations.find("kubernetes.io/config.hash"); hash != pod.annotations.end()) {
    pod.config_hash = hash->second;
  }
  pod.controller = controller_of(*metadata);
  const auto hash = pod.labels.find("pod-template-hash");
  pod.workload = workload_of(pod.controller, hash == pod.labels.end() ? std::string() : hash->second);
  if (const json* status = member(object, "status")) {
    for (const char* key : {"containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"}) {
      add_containers(*status, key, pod.containers);
    }
  }
  return pod;
}

}  // namespace goheapd::k8s

// A pod as the API server describes it, reduced to what goheapd uses.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/model/pod.h"

namespace goheapd::k8s {

// Labels and annotations beyond these are left out: annotations may hold whole manifests.
inline constexpr size_t kMaxAnnotationBytes = 1024;
inline constexpr size_t kMaxLabelsPerPod = 128;

// What is parsed: {"items": [POD...]}, {"type": ..., "object": POD}, or something without pods.
enum class ApiJson : unsigned char { list, event, other };

// Leaves out what is large and unused in pods while it parses. A discarded value: not JSON, or nested too deeply.
nlohmann::json parse_api_json(std::string_view text, ApiJson kind);

// nullopt: no pod with a uid, a namespace and a name. Any JSON is allowed; what has another type than it should counts as
// missing.
std::optional<model::Pod> pod_of(const nlohmann::json& object);

// A text below an object, by keys; empty where it is missing or no text.
std::string text_at(const nlohmann::json& object, std::initializer_list<const char*> keys);

// Who an operator would say runs a pod that `controller` keeps: a Deployment for its ReplicaSet "NAME-HASH", a CronJob
// for its Job "NAME-MINUTES". `template_hash` is the pod's label pod-template-hash, empty without.
model::Workload workload_of(const model::Workload& controller, const std::string& template_hash);

}  // namespace goheapd::k8s

#include "exporters/api/target_json.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace goheapd::exporters::api {
namespace {

using nlohmann::ordered_json;

ordered_json time_or_null(int64_t wall_ns) {
  return wall_ns == 0 ? ordered_json() : ordered_json(rfc3339(wall_ns));
}

ordered_json text_or_null(const std::string& text) {
  return text.empty() ? ordered_json() : ordered_json(text);
}

std::string prefix_of(const model::TargetStatus& target) {
  return "/targets/" + std::to_string(target.process.pid);
}

}  // namespace

std::string rfc3339(int64_t wall_ns) {
  int64_t seconds = wall_ns / 1'000'000'000;
  int64_t rest = wall_ns % 1'000'000'000;
  if (rest < 0) {
    rest += 1'000'000'000;
    --seconds;
  }
  const std::time_t time = seconds;
  std::tm utc{};
  ::gmtime_r(&time, &utc);
  std::array<char, 96> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900,
                utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                static_cast<int>(rest / 1'000'000));
  return text.data();
}

ordered_json target_json(const model::TargetStatus& target) {
  ordered_json json;
  json["pid"] = target.process.pid;
  json["comm"] = target.comm;
  json["exe"] = target.exe;
  json["go_version"] = text_or_null(target.go_version);
  json["module"] = text_or_null(target.module);
  json["stripped"] = target.stripped;
  json["pie"] = target.pie;
  json["state"] = model::name_of(target.state);
  json["mode"] = model::name_of(target.mode);
  json["source"] = text_or_null(target.source);
  json["reason"] = text_or_null(target.reason);
  json["started_at"] = time_or_null(target.started_wall_ns);
  json["attached_at"] = time_or_null(target.attached_wall_ns);
  json["exited_at"] = time_or_null(target.exited_wall_ns);
  json["pod"] = text_or_null(target.pod);
  json["namespace"] = text_or_null(target.namespace_name);
  json["container"] = text_or_null(target.container);
  json["sample_rate"] = target.sample_rate;
  json["samples"] = target.samples;
  json["probe_hits"] = target.probe_hits;
  json["alloc_bytes_per_second"] = target.alloc_bytes_per_second;
  json["live_bytes"] = target.has_live ? ordered_json(target.live_bytes) : ordered_json();
  json["live_objects"] = target.has_live ? ordered_json(target.live_objects) : ordered_json();
  json["overhead_ratio"] = target.overhead_ratio;
  json["gc_cycles"] = target.gc_cycles;
  json["settled_objects"] = target.settled_objects;
  json["profiles"] = {{"heap", prefix_of(target) + "/debug/pprof/heap"},
                      {"allocs", prefix_of(target) + "/debug/pprof/allocs"}};
  return json;
}

ordered_json discovery_json(const model::TargetStatus& target, std::string_view address, bool secure) {
  ordered_json labels;
  labels["__scheme__"] = secure ? "https" : "http";
  labels["__metrics_path__"] = prefix_of(target) + "/metrics";
  labels["__profile_path_prefix__"] = prefix_of(target);
  // What remains of it is one series per target and metric, under the labels that /metrics has.
  labels["instance"] = std::string(address) + prefix_of(target);
  labels["pid"] = std::to_string(target.process.pid);
  labels["comm"] = target.comm;
  for (const auto& [name, value] :
       {std::pair("namespace", &target.namespace_name), std::pair("pod", &target.pod),
        std::pair("container", &target.container)}) {
    if (!value->empty()) labels[name] = *value;
  }
  if (target.state == model::TargetState::attached)
    labels["__meta_goheapd_heap_path"] = prefix_of(target) + "/debug/pprof/heap";
  labels["__meta_goheapd_pid"] = std::to_string(target.process.pid);
  labels["__meta_goheapd_comm"] = target.comm;
  labels["__meta_goheapd_exe"] = target.exe;
  labels["__meta_goheapd_go_version"] = target.go_version;
  labels["__meta_goheapd_module"] = target.module;
  labels["__meta_goheapd_mode"] = model::name_of(target.mode);
  labels["__meta_goheapd_source"] = target.source;
  labels["__meta_goheapd_state"] = model::name_of(target.state);
  labels["__meta_goheapd_namespace"] = target.namespace_name;
  labels["__meta_goheapd_pod"] = target.pod;
  labels["__meta_goheapd_container"] = target.container;
  return {{"targets", {address}}, {"labels", std::move(labels)}};
}

}  // namespace goheapd::exporters::api

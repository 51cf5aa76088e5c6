#include "exporters/gctrace/endpoints.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "daemon/base/clock.h"
#include "exporters/gctrace/line.h"
#include "exporters/target_request.h"

namespace goheapd::exporters::gctrace {
namespace {

using nlohmann::ordered_json;

double seconds(int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-9; }

ordered_json cycle_json(const model::GcCycle& c) {
  ordered_json json;
  json["cycle"] = c.number;
  json["forced"] = c.forced;
  json["started_at"] = rfc3339(wall_time_of(static_cast<uint64_t>(c.start_ns)));
  json["ended_at"] = rfc3339(wall_time_of(static_cast<uint64_t>(c.end_ns)));
  json["sweep_termination_pause_seconds"] = seconds(c.mark_ns - c.start_ns);
  json["mark_seconds"] = seconds(c.mark_end_ns - c.mark_ns);
  json["mark_termination_pause_seconds"] = seconds(c.end_ns - c.mark_end_ns);
  json["pause_seconds"] = seconds(c.pause_ns);
  json["cpu_seconds"] = {{"assist", seconds(c.assist_ns)},
                         {"dedicated", seconds(c.dedicated_ns)},
                         {"fractional", seconds(c.fractional_ns)},
                         {"idle", seconds(c.idle_ns)}};
  json["cpu_fraction"] = c.cpu_fraction;
  json["heap_bytes"] = {{"trigger", c.trigger ? ordered_json(*c.trigger) : ordered_json()},
                        {"before", c.heap_before},
                        {"mark_end", c.heap_at_mark_end},
                        {"marked", c.heap_marked},
                        {"goal", c.goal},
                        {"next_goal", c.next_goal},
                        {"next_trigger", c.next_trigger},
                        {"stacks", c.stack_bytes},
                        {"globals", c.global_bytes}};
  json["gogc_percent"] = c.gc_percent;
  json["memory_limit_bytes"] = c.memory_limit == INT64_MAX ? ordered_json() : ordered_json(c.memory_limit);
  json["procs"] = c.max_procs;
  return json;
}

ordered_json stop_json(const model::ProgramStop& stop) {
  return {{"reason", stop.reason},
          {"began_at", rfc3339(wall_time_of(stop.began_ns))},
          {"pause_seconds", seconds(static_cast<int64_t>(stop.ended_ns - stop.began_ns))}};
}

ordered_json totals_json(const std::vector<model::StopTotal>& totals) {
  ordered_json rows = ordered_json::array();
  for (const model::StopTotal& total : totals) {
    rows.push_back({{"reason", total.reason},
                    {"gc", total.for_gc},
                    {"stops", total.stops},
                    {"pause_seconds", total.seconds}});
  }
  return rows;
}

// What the runtime itself has counted since the program started, whoever watched; null where it does not count.
ordered_json runtime_count_json(ProfileSource& source, pid_t pid) {
  const auto now = source.statistics(pid);
  if (!now || !now->memory.stops) return {};
  return {{"gc", now->memory.stops->for_gc}, {"other", now->memory.stops->other}};
}

http::Response serve(ProfileSource& source, const http::Request& request, bool as_json) {
  const auto pid = parse_pid(request.capture("pid"));
  if (!pid) return pid.error();
  const auto log = source.gc_log(*pid);
  if (!log) return refusal_response(log.error());
  http::Response response;
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  if (!as_json) {
    for (const model::GcCycle& cycle : log->cycles) response.body += line(cycle);
    return response;
  }
  ordered_json rows = ordered_json::array();
  for (const model::GcCycle& cycle : log->cycles) rows.push_back(cycle_json(cycle));
  response.content_type = "application/json";
  ordered_json stops = ordered_json::array();
  for (const model::ProgramStop& stop : log->other_stops) stops.push_back(stop_json(stop));
  response.body = ordered_json({{"cycles", std::move(rows)},
                                {"other_stops", std::move(stops)},
                                {"seen_stops", totals_json(log->stop_totals)},
                                {"runtime_stops", runtime_count_json(source, *pid)}})
                      .dump() +
                  "\n";
  return response;
}

}  // namespace

void add_routes(http::Router& router, ProfileSource& source) {
  for (const auto& [path, as_json] :
       {std::pair("/targets/{pid}/gctrace", false), std::pair("/api/v1/targets/{pid}/gc", true)}) {
    router.get(path,
               router.limited(http::AnswerBudget::Kind::table,
                              [&source, as_json = as_json](const http::Request& request) {
                                return serve(source, request, as_json);
                              }),
               {});
  }
}

}  // namespace goheapd::exporters::gctrace

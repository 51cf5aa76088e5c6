#include "exporters/web/endpoints.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "daemon/base/utf8.h"
#include "exporters/http/html.h"
#include "exporters/target_request.h"

namespace goheapd::exporters::web {
namespace {

constexpr size_t kMaxTextBytes = 300;

std::string text(std::string_view raw) { return http::html_escape(clean_utf8(raw, kMaxTextBytes)); }

// 12.3 MiB
std::string bytes_for_people(double bytes) {
  static constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  for (; std::fabs(bytes) >= 1024 && unit + 1 < kUnits.size(); ++unit) bytes /= 1024;
  std::array<char, 64> number{};
  std::snprintf(number.data(), number.size(), unit == 0 ? "%.0f %s" : "%.1f %s", bytes, kUnits[unit]);
  return number.data();
}

// What the mode alone does not tell.
std::string level_note(const model::TargetStatus& target) {
  if (target.level.empty() || target.level == model::name_of(target.mode)) return {};
  std::string note = target.level;
  if (target.sampled_share == 0) {
    note += ": no samples at the moment";
  } else if (target.sampled_share < 1) {
    std::array<char, 64> share{};
    std::snprintf(share.data(), share.size(), ": samples %.1f %% of the time", target.sampled_share * 100);
    note += share.data();
  }
  return "<br><span class=\"note\">" + text(note) + "</span>";
}

// What probes take of it, and may take.
std::string overhead_note(const model::TargetStatus& target) {
  if (!target.overhead_limit) return {};
  std::array<char, 128> note{};
  std::snprintf(note.data(), note.size(), "probes take %.2f %% of its CPU time, of %.2f %% that they may",
                target.overhead_ratio * 100, *target.overhead_limit * 100);
  return "<br><span class=\"note\">" + text(note.data()) + "</span>";
}

struct Link {
  const char* name;
  std::string path;
  const char* meaning;
};

// What will be answered with more than a reason.
std::vector<Link> links_of(const model::TargetStatus& target) {
  using model::TargetState;
  const std::string pid = std::to_string(target.process.pid);
  const std::string base = "/targets/" + pid;
  const bool has_exited = target.state == TargetState::exited;
  const bool has_profiles = model::has_profiles(target.state);
  std::vector<Link> links;
  if (has_profiles) {
    links.push_back(
        {"heap", base + "/debug/pprof/heap", "memory of objects that are alive, for go tool pprof"});
    links.push_back({"allocs", base + "/debug/pprof/allocs", "all memory ever allocated, the same"});
    links.push_back({"text", base + "/debug/pprof/heap?debug=1", "the heap profile to be read"});
    // Mode auto has some in mode buckets, too, and keeps what it saw before.
    const bool sees_cycles = !has_exited && target.mode != model::Mode::buckets;
    if (sees_cycles || target.last_gc) {
      links.push_back({"gctrace", base + "/gctrace", "the last garbage collections, a line for each"});
      links.push_back({"gc", "/api/v1/targets/" + pid + "/gc", "the same as JSON, and other stops"});
    }
  }
  if (!has_exited && target.state != TargetState::ignored && (has_profiles || target.runtime_readable))
    links.push_back({"metrics", base + "/metrics", "memory statistics of its runtime, for Prometheus"});
  return links;
}

http::Response page() {
  http::Response response;
  response.content_type = "text/html; charset=utf-8";
  response.headers = {{"X-Content-Type-Options", "nosniff"},
                      {"Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"}};
  return response;
}

// The address under which we have been asked.
std::string own_address(const http::Request& request) {
  return (request.secure ? "https://" : "http://") + text(request.header("host").value_or("localhost"));
}

http::Response serve_target(ProfileSource& source, const http::Request& request) {
  const auto target = find_target(source, request.capture("pid"));
  if (!target) return target.error();
  const std::string pid = std::to_string(target->process.pid);
  http::Response response = page();
  std::string& html = response.body;
  html = http::html_head("/targets/" + pid) + "<h1>" + text(target->comm) + " (" + pid + ")</h1>\n<p>" +
         text(target->exe) + "<br>" + text(target->go_version) + ", " + text(model::name_of(target->state));
  if (target->state == model::TargetState::attached)
    html += ", mode " + text(model::name_of(target->mode)) + level_note(*target) + overhead_note(*target);
  html += "</p>\n";
  if (!target->reason.empty()) html += "<p class=\"note\">" + text(target->reason) + "</p>\n";
  const std::vector<Link> links = links_of(*target);
  if (!links.empty()) html += "<ul>\n";
  for (const Link& link : links)
    html += "<li><a href=\"" + link.path + "\">" + link.name + "</a>: " + link.meaning + "</li>\n";
  if (!links.empty()) html += "</ul>\n";
  if (target->state == model::TargetState::attached) {
    html += "<pre>go tool pprof -top " + own_address(request) + "/targets/" + pid +
            "/debug/pprof/heap</pre>\n<p class=\"note\">With <code>?seconds=N</code> heap and allocs are the "
            "difference over N seconds.</p>\n";
  }
  html += "<p><a href=\"/\">all targets</a></p>\n</body>\n</html>\n";
  return response;
}

std::string row(const model::TargetStatus& target) {
  const std::string pid = std::to_string(target.process.pid);
  std::string html = "<tr><td class=\"number\"><a href=\"/targets/" + pid + "\">" + pid + "</a></td><td>" +
                     text(target.comm) + "<br><span class=\"note\">" + text(target.exe) + "</span></td><td>" +
                     text(target.go_version) + "</td><td>" + text(model::name_of(target.state));
  if (!target.reason.empty()) html += "<br><span class=\"note\">" + text(target.reason) + "</span>";
  html += "</td><td>" + text(model::name_of(target.mode)) + level_note(target) +
          "</td><td class=\"number\">" +
          (target.has_live ? bytes_for_people(target.live_bytes) : std::string()) +
          "</td><td class=\"number\">" + bytes_for_people(target.alloc_bytes_per_second) + "/s</td><td>";
  std::string links;
  for (const Link& link : links_of(target)) {
    if (!links.empty()) links += ' ';
    links += "<a href=\"" + link.path + "\">" + link.name + "</a>";
  }
  return html + links + "</td></tr>\n";
}

http::Response serve_page(ProfileSource& source, const http::Request& request) {
  auto targets = source.targets();
  std::stable_sort(targets.begin(), targets.end(), [](const auto& a, const auto& b) {
    return a.state != b.state ? a.state < b.state : a.process.pid < b.process.pid;
  });
  const auto status = source.status();
  const auto health = source.health();
  http::Response response = page();
  std::string& html = response.body;
  html = http::html_head("goheapd") + "<h1>goheapd " + text(status.version) + "</h1>\n";
  if (health.not_ready) html += "<p><strong>Not ready:</strong> " + text(*health.not_ready) + "</p>\n";
  if (status.denied_processes != 0) {
    html += "<p><strong>Processes that may not be looked at, so that Go programs among them are not found: " +
            std::to_string(status.denied_processes) + ".</strong> " + text(status.why_denied) + "</p>\n";
  }
  if (!targets.empty() && targets.front().state == model::TargetState::attached) {
    html += "<p>Try</p>\n<pre>go tool pprof -top " + own_address(request) + "/targets/" +
            std::to_string(targets.front().process.pid) + "/debug/pprof/heap</pre>\n";
  }
  if (targets.empty()) {
    html += "<p>No Go process has been found yet.</p>\n";
  } else {
    html +=
        "<table>\n<thead><tr><th>pid</th><th>process</th><th>Go</th><th>state</th><th>mode</th>"
        "<th>live heap</th><th>allocates</th><th>profiles and more</th></tr></thead>\n<tbody>\n";
    for (const auto& target : targets) html += row(target);
    html += "</tbody>\n</table>\n";
  }
  html +=
      "<p><a href=\"/metrics\">metrics</a> &middot; <a href=\"/api/v1/targets\">targets as JSON</a> &middot; "
      "<a href=\"/api/v1/sd\">service discovery</a> &middot; <a href=\"/-/healthy\">healthy</a> &middot; "
      "<a href=\"/-/ready\">ready</a></p>\n</body>\n</html>\n";
  return response;
}

}  // namespace

void add_routes(http::Router& router, ProfileSource& source) {
  const auto limited = [&router](http::Handler handler) {
    return router.limited(http::AnswerBudget::Kind::table, std::move(handler));
  };
  router.get("/", limited([&source](const http::Request& request) { return serve_page(source, request); }),
             {});
  for (const std::string_view path : {"/targets/{pid}", "/targets/{pid}/"}) {
    router.get(
        path, limited([&source](const http::Request& request) { return serve_target(source, request); }), {});
  }
}

}  // namespace goheapd::exporters::web

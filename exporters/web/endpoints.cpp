#include "exporters/web/endpoints.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string>

#include "daemon/base/utf8.h"
#include "exporters/http/html.h"

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

std::string row(const model::TargetStatus& target) {
  const std::string pid = std::to_string(target.process.pid);
  const std::string base = "/targets/" + pid + "/debug/pprof/";
  std::string html = "<tr><td class=\"number\">" + pid + "</td><td>" + text(target.comm) +
                     "<br><span class=\"note\">" + text(target.exe) + "</span></td><td>" +
                     text(target.go_version) + "</td><td>" + text(model::name_of(target.state));
  if (!target.reason.empty()) html += "<br><span class=\"note\">" + text(target.reason) + "</span>";
  html += "</td><td>" + text(model::name_of(target.mode)) + level_note(target) +
          "</td><td class=\"number\">" +
          (target.has_live ? bytes_for_people(target.live_bytes) : std::string()) +
          "</td><td class=\"number\">" + bytes_for_people(target.alloc_bytes_per_second) + "/s</td><td>";
  const bool has_profiles =
      target.state == model::TargetState::attached || target.state == model::TargetState::exited;
  if (has_profiles) {
    html += "<a href=\"" + base + "heap\">heap</a> <a href=\"" + base + "allocs\">allocs</a> <a href=\"" +
            base + "heap?debug=1\">text</a>";
  }
  return html + "</td></tr>\n";
}

http::Response serve_page(ProfileSource& source, const http::Request& request) {
  auto targets = source.targets();
  std::stable_sort(targets.begin(), targets.end(), [](const auto& a, const auto& b) {
    return a.state != b.state ? a.state < b.state : a.process.pid < b.process.pid;
  });
  const auto status = source.status();
  const auto health = source.health();
  http::Response response;
  response.content_type = "text/html; charset=utf-8";
  response.headers = {{"X-Content-Type-Options", "nosniff"},
                      {"Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"}};
  std::string& html = response.body;
  html = http::html_head("goheapd") + "<h1>goheapd " + text(status.version) + "</h1>\n";
  if (health.not_ready) html += "<p><strong>Not ready:</strong> " + text(*health.not_ready) + "</p>\n";
  if (!targets.empty() && targets.front().state == model::TargetState::attached) {
    html += std::string("<p>Try</p>\n<pre>go tool pprof -top ") + (request.secure ? "https://" : "http://") +
            text(request.header("host").value_or("localhost")) + "/targets/" +
            std::to_string(targets.front().process.pid) + "/debug/pprof/heap</pre>\n";
  }
  if (targets.empty()) {
    html += "<p>No Go process has been found yet.</p>\n";
  } else {
    html +=
        "<table>\n<thead><tr><th>pid</th><th>process</th><th>Go</th><th>state</th><th>mode</th>"
        "<th>live heap</th><th>allocates</th><th>profiles</th></tr></thead>\n<tbody>\n";
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
  router.get("/", router.limited(http::AnswerBudget::Kind::table, [&source](const http::Request& request) {
    return serve_page(source, request);
  }));
}

}  // namespace goheapd::exporters::web

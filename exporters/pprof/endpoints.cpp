#include "exporters/pprof/endpoints.h"

#include <atomic>
#include <charconv>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/base/utf8.h"
#include "exporters/http/html.h"
#include "exporters/pprof/encoder.h"
#include "exporters/pprof/text.h"
#include "exporters/target_request.h"

namespace goheapd::exporters::pprof {
namespace {

// A difference holds a connection and a snapshot for its whole time.
constexpr int64_t kMaxSeconds = 3600;
constexpr size_t kMaxTextBytes = 300;  // of a name on a page

struct Parameters {
  std::optional<std::chrono::seconds> seconds;
  bool text = false;
};

std::optional<int64_t> parse_integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

tl::expected<Parameters, http::Response> parse_parameters(const http::Request& request) {
  auto refuse = [](int status, std::string_view message) {
    return tl::unexpected(http::error_response(status, message));
  };
  Parameters parameters;
  if (const auto gc = request.parameter("gc"); gc && !gc->empty()) {
    const auto value = parse_integer(*gc);
    if (!value) return refuse(400, "gc must be 0 or 1");
    if (*value > 0) {
      return refuse(
          501, "gc=1 would make the program collect garbage, and goheapd does nothing to it: leave gc out");
    }
  }
  if (const auto debug = request.parameter("debug"); debug && !debug->empty()) {
    if (*debug != "0" && *debug != "1") return refuse(400, "debug must be 0 (pprof file) or 1 (text)");
    parameters.text = *debug == "1";
  }
  if (const auto seconds = request.parameter("seconds"); seconds && !seconds->empty()) {
    const auto value = parse_integer(*seconds);
    if (!value || *value <= 0 || *value > kMaxSeconds) {
      return refuse(
          400, "seconds must be a positive integer without a unit, at most " + std::to_string(kMaxSeconds));
    }
    if (parameters.text) return refuse(400, "seconds and debug=1 do not go together: leave one out");
    parameters.seconds = std::chrono::seconds(*value);
  }
  return parameters;
}

// How many differences are taken at once: each keeps its first half for all its time.
class Differences {
 public:
  // Does not wait: they last long.
  bool enter() {
    if (++running_ <= kMax) return true;
    --running_;
    return false;
  }
  void leave() { --running_; }

 private:
  static constexpr int kMax = 64;
  std::atomic<int> running_{0};
};

constexpr const char* kTooManyProfiles = "too many profiles are being made; try later";

http::Response encoded(ProfileSource& source, const model::HeapSnapshot& snapshot,
                       const Parameters& parameters, Profile profile) {
  http::Response response;
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  if (parameters.text) {
    // A process that has exited has no memory left to read them from.
    const auto now = source.statistics(snapshot.process.pid);
    response.body = encode_text(snapshot, now ? &now->memory : nullptr);
    return response;
  }
  std::string name = profile == Profile::heap ? "heap" : "allocs";
  if (parameters.seconds) name += "-delta";
  response.content_type = "application/octet-stream";
  response.headers.emplace_back("Content-Disposition", "attachment; filename=\"" + name + "\"");
  response.body = encode_gzip(snapshot, profile);
  return response;
}

http::Response serve_profile(ProfileSource& source, http::AnswerBudget& budget, Differences& differences,
                             const http::Request& request, std::string_view pid_text, Profile profile) {
  const auto pid = parse_pid(pid_text);
  if (!pid) return pid.error();
  const auto parameters = parse_parameters(request);
  if (!parameters) return parameters.error();
  http::AnswerBudget::Turn turn;
  const auto enter = [&] {
    turn = budget.enter(http::AnswerBudget::Kind::profile, request.stop);
    return turn != nullptr;
  };
  // Left however the answer is made, by an exception too.
  std::unique_ptr<Differences, void (*)(Differences*)> running(nullptr, [](Differences* d) { d->leave(); });
  if (parameters->seconds) {
    if (!differences.enter())
      return http::busy("too many differences are being taken; try later, or leave out seconds");
    running.reset(&differences);
  } else if (!enter()) {
    return http::busy(kTooManyProfiles);
  }
  // A difference only takes its turn when its time is over.
  const auto snapshot = parameters->seconds
                            ? source.heap_delta(*pid, *parameters->seconds, request.stop, enter)
                            : source.heap(*pid);
  if (!snapshot) return refusal_response(snapshot.error());
  http::Response response = encoded(source, **snapshot, *parameters, profile);
  budget.hold(request, response);
  return response;
}

std::string text(std::string_view raw) { return http::html_escape(clean_utf8(raw, kMaxTextBytes)); }

http::Response serve_index(ProfileSource& source, const http::Request& request) {
  const auto target = find_target(source, request.capture("pid"));
  if (!target) return target.error();
  const std::string pid = std::to_string(target->process.pid);
  const std::string base = "/targets/" + pid + "/debug/pprof/";
  http::Response response;
  response.content_type = "text/html; charset=utf-8";
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  response.body = http::html_head(base) + "<h1>" + text(target->comm) + " (" + pid + ")</h1>\n<p>" +
                  text(target->exe) + "</p>\n<ul>\n";
  for (const auto& [name, meaning] : {std::pair("heap", "memory of objects that are alive"),
                                      std::pair("allocs", "all memory ever allocated")}) {
    response.body += "<li><a href=\"" + base + name + "\">" + name + "</a>: " + meaning + " (<a href=\"" +
                     base + name + "?debug=1\">as text</a>)</li>\n";
  }
  response.body +=
      "</ul>\n<p class=\"note\"><code>?seconds=N</code> gives the difference over N seconds.</p>\n"
      "</body>\n</html>\n";
  return response;
}

}  // namespace

void add_routes(http::Router& router, ProfileSource& source) {
  const auto differences = std::make_shared<Differences>();
  http::AnswerBudget& budget = router.budget();
  for (const auto& [name, profile] :
       {std::pair("heap", Profile::heap), std::pair("allocs", Profile::allocs)}) {
    router.get(std::string("/targets/{pid}/debug/pprof/") + name,
               [&source, &budget, differences, profile = profile](const http::Request& request) {
                 return serve_profile(source, budget, *differences, request, request.capture("pid"), profile);
               },
               {"seconds", "debug", "gc"});
    router.get(std::string("/debug/pprof/") + name,
               [&source, &budget, differences, profile = profile](const http::Request& request) {
                 const auto pid = request.parameter("pid");
                 if (!pid) {
                   return http::error_response(
                       400, "say which process: add ?pid=N; /api/v1/targets lists those there are");
                 }
                 return serve_profile(source, budget, *differences, request, *pid, profile);
               },
               {"pid", "seconds", "debug", "gc"});
  }
  // pprof posts here the addresses of a profile that it fetched and that have no function, C code mostly, and
  // gives up the whole profile when it is refused. What we know of an address is in the profile already.
  auto symbol = [](const http::Request&) {
    http::Response response;
    response.headers.emplace_back("X-Content-Type-Options", "nosniff");
    response.body = "num_symbols: 0\n";
    return response;
  };
  router.get_or_post("/targets/{pid}/debug/pprof/symbol", symbol);
  router.get_or_post("/debug/pprof/symbol", symbol);
  auto index = [&source](const http::Request& request) { return serve_index(source, request); };
  router.get("/targets/{pid}/debug/pprof/", index, {});
  router.get("/targets/{pid}/debug/pprof", index, {});
}

}  // namespace goheapd::exporters::pprof

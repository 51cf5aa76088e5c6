#include "exporters/target_request.h"

#include <charconv>
#include <optional>
#include <string>
#include <utility>

namespace goheapd::exporters {
namespace {

int status_of(Refusal refusal) {
  switch (refusal) {
    case Refusal::unknown_target:
      return 404;
    case Refusal::gone_target:
      return 410;
    case Refusal::unsupported_target:
      return 409;
    case Refusal::unavailable:
      break;
  }
  return 503;
}

}  // namespace

tl::expected<pid_t, http::Response> parse_pid(std::string_view text) {
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (error == std::errc() && end == text.data() + text.size() && pid > 0) return pid;
  return tl::unexpected(
      http::error_response(400, "the pid must be a positive integer; /api/v1/targets lists those there are"));
}

tl::expected<model::TargetStatus, http::Response> find_target(ProfileSource& source,
                                                              std::string_view pid_text) {
  const auto pid = parse_pid(pid_text);
  if (!pid) return tl::unexpected(pid.error());
  std::optional<model::TargetStatus> latest;
  for (model::TargetStatus& candidate : source.targets()) {
    if (candidate.process.pid == *pid && (!latest || latest->process < candidate.process))
      latest = std::move(candidate);
  }
  if (latest) return std::move(*latest);
  return tl::unexpected(refusal_response(unknown_target(*pid)));
}

SourceError unknown_target(pid_t pid) {
  return {Refusal::unknown_target,
          "no Go process with pid " + std::to_string(pid) + "; /api/v1/targets lists those there are"};
}

http::Response refusal_response(const SourceError& error) {
  return http::error_response(status_of(error.refusal), error.message);
}

}  // namespace goheapd::exporters

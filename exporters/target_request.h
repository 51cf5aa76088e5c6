// What every path below /targets/{pid} does with its pid, and with the daemon's refusal.
#pragma once

#include <sys/types.h>

#include <string_view>
#include <tl/expected.hpp>

#include "exporters/http/message.h"
#include "exporters/source.h"

namespace goheapd::exporters {

// The error is the answer to send.
tl::expected<pid_t, http::Response> parse_pid(std::string_view text);

// The target of that pid, as /api/v1/targets has it; of several lives of the pid the latest one, as its profiles are. The
// error is the answer to send.
tl::expected<model::TargetStatus, http::Response> find_target(ProfileSource& source,
                                                              std::string_view pid_text);

// That of a pid that no Go process has.
SourceError unknown_target(pid_t pid);

// 404, 409, 410 or 503 with the reason.
http::Response refusal_response(const SourceError& error);

}  // namespace goheapd::exporters

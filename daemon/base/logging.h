#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace goheapd {

enum class LogFormat : unsigned char { logfmt, json };

// Sends spdlog's default logger to stderr, one line per message, as `ts=... level=... msg="..."` or one JSON object.
// The time stamp is left out when journald is at the other end: it keeps its own.
// `level` is debug, info, warn or error. Each message goes through `rewrite`, if there is one, from any thread but one at a
// time; it must not log.
using RewriteMessage = std::function<std::string(const std::string&)>;
void set_up_logging(std::string_view level, LogFormat format, RewriteMessage rewrite = {});

}  // namespace goheapd

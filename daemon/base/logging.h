#pragma once

#include <string_view>

namespace goheapd {

enum class LogFormat : unsigned char { logfmt, json };

// Sends spdlog's default logger to stderr, one line per message, as `ts=... level=... msg="..."` or one JSON object.
// The time stamp is left out when journald is at the other end: it keeps its own.
// `level` is debug, info, warn or error.
void set_up_logging(std::string_view level, LogFormat format);

}  // namespace goheapd

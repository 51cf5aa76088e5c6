#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace goheapd {

enum class LogFormat : unsigned char { logfmt, json };

// Sends spdlog's default logger to stderr, one line per message, as `ts=... level=... msg="..."` or one JSON object.
// Where journald is at the other end, the time stamp is left out, since it keeps its own, and `<N>` before each line tells
// it the priority (sd-daemon(3)), which it takes away.
// `level` is debug, info, warn or error. Each message goes through `rewrite`, if there is one, from any thread but one at a
// time; it must not log.
using RewriteMessage = std::function<std::string(const std::string&)>;
void set_up_logging(std::string_view level, LogFormat format, RewriteMessage rewrite = {});

// Whether stderr goes to journald. Its variable alone does not tell: whoever redirects stderr leaves it as it was.
bool logs_to_journal();

}  // namespace goheapd

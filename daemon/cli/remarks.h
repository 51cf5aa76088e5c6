// What is no error, yet not what one may think: said to whoever starts a command, a line for each.
#pragma once

#include <optional>
#include <string>

#include "daemon/model/target.h"

namespace goheapd::cli {

// That --live-heap was given does nothing in this mode.
std::optional<std::string> remark_on_live_heap(model::Mode mode, bool live_heap);

// That a heap profile recorded so has nothing in use.
std::optional<std::string> remark_on_recording(model::Mode mode, bool live_heap, const std::string& type);

// The command that shows something of what was recorded so.
std::string command_to_look_at(const std::string& file, model::Mode mode, bool live_heap);

}  // namespace goheapd::cli

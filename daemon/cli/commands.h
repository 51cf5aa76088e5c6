// One function per command: it adds its flags to the program and what to do when it is chosen.
#pragma once

#include <functional>

namespace CLI {  // NOLINT(readability-identifier-naming): CLI11's name
class App;
}

namespace goheapd::cli {

// What a command returns to the shell; see interface.md.
inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitTargetGone = 3;  // record: the process ended early; what was recorded is written

// Set by the chosen command; main runs it after all flags were parsed.
using Action = std::function<int()>;

// argc and argv as main got them: serve reads them again at SIGHUP.
void add_serve(CLI::App& program, Action& action, int argc, const char* const* argv);
void add_record(CLI::App& program, Action& action);
void add_inspect(CLI::App& program, Action& action);
void add_doctor(CLI::App& program, Action& action);

}  // namespace goheapd::cli

// Whether a pid that somebody has typed is one that can be looked at: the first thing to go wrong for a newcomer.
#pragma once

#include <sys/types.h>

#include <string>

#include "daemon/base/expected.h"

namespace goheapd::cli {

// What to do where the kernel forbids us to look at a file or process; `sees_all`: we have CAP_SYS_PTRACE.
std::string advice_on_access(bool is_root, bool sees_all);
// The same, of this process.
std::string advice_on_access();

// Its program can be read. Error: why not, and what to do.
Expected<void> check_readable(pid_t pid);
// ... and looks like a Go program.
Expected<void> check_go_program(pid_t pid);

}  // namespace goheapd::cli

// What a command leaves behind: a file that is written in one go, at the end of long work.
#pragma once

#include <string>
#include <string_view>

#include "daemon/base/expected.h"

namespace goheapd {

// Writes a file, whole or not at all: beside the path and renamed over it, so that a full disk leaves no half file under
// the name asked for. Links are followed, and what they lead to is replaced. What is there and is no regular file (a device, a
// FIFO), or what cannot be replaced but may be written (it is a mount point, or its folder is read-only) is written
// into instead; a FIFO waits for its reader. If the name cannot be taken at the end, all is kept beside it and the error says
// where.
Expected<void> write_output_file(const std::string& path, std::string_view bytes);

// Whether write_output_file() can do so, as far as that can be known before; leaves everything as it is.
Expected<void> check_output_file(const std::string& path);

// To standard output, at once: what is buffered fails too late for anybody to hear of it.
Expected<void> print(std::string_view text);

}  // namespace goheapd

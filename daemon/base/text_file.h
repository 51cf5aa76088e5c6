#pragma once

#include <cstddef>
#include <string>

#include "daemon/base/expected.h"

namespace goheapd {

// A small file, whole. Errors are parts of a sentence that begins with what file it is: it cannot be read (a directory, say) or has more than `max_bytes`.
Expected<std::string> read_text_file(const std::string& path, size_t max_bytes);

}  // namespace goheapd

#pragma once

#include <string>
#include <string_view>

namespace goheapd {

// One gzip member at the fastest level (as Go's own profiles are), without name or time stamp. Throws
// std::bad_alloc when zlib has no memory.
std::string gzip(std::string_view bytes);

}  // namespace goheapd

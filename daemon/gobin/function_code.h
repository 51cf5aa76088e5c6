#pragma once

#include <cstdint>
#include <string_view>

#include "daemon/base/byte_view.h"

namespace goheapd::gobin {

// One function of a Go binary as the runtime's function table delimits it: its machine code in [entry, end),
// both link-time addresses. The code may end in padding; `name` and `code` point into the mapped file.
struct FunctionCode {
  std::string_view name;
  uint64_t entry = 0;
  uint64_t end = 0;
  ByteView code;
};

}  // namespace goheapd::gobin

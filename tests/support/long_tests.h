#pragma once

#include <cstdlib>

namespace goheapd::test {

// Tests that have a longer form take it for ./tests/run --all, which says so by GOHEAPD_LONG_TESTS: empty = no.
inline bool wants_long_tests() {
  const char* const wanted = std::getenv("GOHEAPD_LONG_TESTS");
  return wanted != nullptr && *wanted != '\0';
}

}  // namespace goheapd::test

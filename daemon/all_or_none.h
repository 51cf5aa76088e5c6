// Changes that are made in several steps, each of which may fail.
#pragma once

#include <functional>
#include <vector>

#include "daemon/base/expected.h"

namespace goheapd {

struct Step {
  std::function<Expected<void>()> take;
  std::function<void()> undo;  // what `take` did when it succeeded
};

// Takes them in their order. When one fails, those before it are undone, the latest first, and its error is returned.
Expected<void> take_all_or_none(const std::vector<Step>& steps);

}  // namespace goheapd

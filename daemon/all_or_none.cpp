#include "daemon/all_or_none.h"

namespace goheapd {

Expected<void> take_all_or_none(const std::vector<Step>& steps) {
  for (auto step = steps.begin(); step != steps.end(); ++step) {
    auto taken = step->take();
    if (taken) continue;
    while (step != steps.begin()) (--step)->undo();
    return taken;
  }
  return {};
}

}  // namespace goheapd

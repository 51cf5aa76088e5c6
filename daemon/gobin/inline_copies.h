// Which functions of the runtime hold inlined copies of which others. A probe on a function does not see what runs
// through a copy, and profile-guided builds copy functions that nobody would expect to be small enough.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "daemon/gobin/pclntab.h"
#include "daemon/gobin/runtime_layout.h"
#include "daemon/gobin/symbolizer.h"

namespace goheapd::gobin {

class InlineCopies {
 public:
  InlineCopies() = default;
  // Looks at all functions that were compiled together with function `member`: its package, which includes
  // functions that bear another package's name (runtime's reflect.unsafe_New). Functions of other packages
  // cannot inline what is not exported.
  static InlineCopies find(const Pclntab& pclntab, const Symbolizer& symbolizer, const RuntimeLayout& layout,
                           uint32_t member);

  void add(std::string_view function, std::string_view host) { hosts_[function].push_back(host); }

  // Names of the machine functions that hold a copy of `function`; sorted or not, with repetitions.
  std::span<const std::string_view> hosts_of(std::string_view function) const;

 private:
  std::unordered_map<std::string_view, std::vector<std::string_view>> hosts_;
};

}  // namespace goheapd::gobin

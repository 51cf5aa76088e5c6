#pragma once

#include "daemon/gobin/runtime_layout.h"
#include "daemon/probe/attach_request.h"

namespace goheapd::probe {

// What the programs in the kernel need of a Go version's layout.
TargetLayout target_layout(const gobin::RuntimeLayout& layout);

}  // namespace goheapd::probe

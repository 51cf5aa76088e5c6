#pragma once

#include <span>
#include <string_view>

#include "daemon/model/allocation_kind.h"

namespace goheapd::profile {

struct AllocationSite {
  model::AllocationKind kind = model::AllocationKind::other;
  // The first function outside the runtime: the one a user thinks of as allocating. Views into the input; the
  // outermost runtime function if there is no other; empty for an empty stack.
  std::string_view function;
};

// Decides from function names, innermost first with inlined frames expanded, what an allocation was for.
// The whole block of runtime functions at the leaf counts, not the innermost name: growing a map ends in
// newobject, too. `is_closure` = the allocated type is a closure's ("struct { F uintptr ..."), known only
// where types are.
AllocationSite classify(std::span<const std::string_view> functions, bool is_closure = false);

// True for functions that a Go heap profile hides at the leaf and that count as the runtime's own here.
bool is_runtime_function(std::string_view function);

}  // namespace goheapd::profile

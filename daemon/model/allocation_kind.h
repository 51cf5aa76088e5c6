#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace goheapd::model {

// What a program did when it allocated; label `kind` of goheapd_alloc_*_total.
enum class AllocationKind : unsigned char {
  object,
  slice,
  slice_growth,
  map,
  map_growth,
  string,
  interface,
  channel,
  closure,
  goroutine,
  other,
};

inline constexpr size_t kAllocationKinds = 11;
inline constexpr std::array<std::string_view, kAllocationKinds> kAllocationKindNames = {
    "object",    "slice",   "slice_growth", "map",       "map_growth", "string",
    "interface", "channel", "closure",      "goroutine", "other"};

inline std::string_view name_of(AllocationKind kind) {
  return kAllocationKindNames[static_cast<size_t>(kind)];
}

}  // namespace goheapd::model

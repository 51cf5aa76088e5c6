#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "bpf/wire.h"

namespace goheapd::probe {

// The two look-up tables from which Go's allocator takes an object's size class, computed from the classes'
// sizes as Go's own generator does: the smallest class that fits.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mksizeclasses.go#L248
struct SizeClassTables {
  std::array<uint8_t, wire::kSmallTableEntries> small{};    // index (size + 7) / 8, sizes up to 1024
  std::array<uint8_t, wire::kMediumTableEntries> medium{};  // index (size - 1024 + 127) / 128, above
};
// `bytes` = slot size by class, ascending, class 0 unused.
SizeClassTables make_size_class_tables(std::span<const uint32_t, wire::kSizeClassCount> bytes);

}  // namespace goheapd::probe

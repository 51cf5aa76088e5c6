#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "daemon/gobin/go_binary.h"
#include "daemon/model/snapshot.h"
#include "daemon/profile/bucket_ledger.h"
#include "daemon/profile/raw_snapshot.h"

namespace goheapd::profile {

// Gives names, files and lines to a raw snapshot and unsamples its counts. `load_bias` = where the process has the
// binary, minus where it was linked. Any thread; needs neither the process nor its file.
model::HeapSnapshotPtr symbolize(const RawSnapshot& raw, const gobin::GoBinary& binary, uint64_t load_bias);

struct NamedSite {
  model::AllocationKind kind = model::AllocationKind::other;
  std::string function;  // printable; kOtherSite if nothing is known
};

// Who allocates here, and what: for a stack of the runtime's profile buckets (logical), up to Go 1.25 without the
// runtime function that was called; it is found again as the target of the call instruction.
NamedSite site_of_logical_stack(const gobin::GoBinary& binary, uint64_t load_bias,
                                std::span<const uint64_t> stack);
// The same for return addresses that a probe on an allocation function walked.
NamedSite site_of_return_addresses(const gobin::GoBinary& binary, uint64_t load_bias,
                                   std::span<const uint64_t> stack);

}  // namespace goheapd::profile

#pragma once

#include <cstdint>

#include "daemon/base/expected.h"
#include "daemon/gobin/go_binary.h"
#include "daemon/model/process_key.h"
#include "daemon/model/target.h"
#include "daemon/probe/attach_request.h"
#include "daemon/probe/governor.h"

namespace goheapd {

// What the kernel shall watch in a process that runs `program`, recognised as `binary`, for mode sampled or exact. Error:
// the binary lacks a function that the mode needs.
Expected<probe::AttachRequest> make_attach_request(const gobin::GoBinary& binary,
                                                   const model::ProcessKey& process,
                                                   const probe::RunningFile& program, uint64_t load_bias,
                                                   model::Mode mode);

// The same for mode sampled where the runtime does not sample: source spans, with a sample in `mean_distance` bytes. Error:
// as above, or a variable of the runtime is not to be found in the binary.
Expected<probe::AttachRequest> make_span_request(const gobin::GoBinary& binary,
                                                 const model::ProcessKey& process,
                                                 const probe::RunningFile& program, uint64_t load_bias,
                                                 uint64_t mean_distance);

}  // namespace goheapd

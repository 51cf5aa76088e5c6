#pragma once

#include <cstdint>

#include "daemon/base/expected.h"
#include "daemon/gobin/go_binary.h"
#include "daemon/model/process_key.h"
#include "daemon/model/target.h"
#include "daemon/probe/attach_request.h"
#include "daemon/probe/governor.h"

namespace goheapd {

// Source spans: one sample in so many bytes. A quarter of what Go's own sampler takes, because a sample here is a whole run
// of objects, and those of small classes stand for less.
inline constexpr uint64_t kSpanMeanDistance = 128u << 10;
// At level sparse there is a stack walk for so many fewer samples; each is hit by more bytes, so they still add up.
inline constexpr uint64_t kSparseFactor = 16;
constexpr uint64_t span_mean_distance(probe::Level level) {
  return kSpanMeanDistance * (level == probe::Level::sparse ? kSparseFactor : 1);
}

// What the kernel shall watch in a process that runs `program`, recognised as `binary`, for mode sampled or exact. Error:
// the binary lacks a function that the mode needs.
Expected<probe::AttachRequest> make_attach_request(const gobin::GoBinary& binary,
                                                   const model::ProcessKey& process,
                                                   const probe::RunningFile& program, uint64_t load_bias,
                                                   model::Mode mode);

// The same for mode sampled where the runtime does not sample: source spans. Error: as above, or a variable of the
// runtime is not to be found in the binary.
Expected<probe::AttachRequest> make_span_request(const gobin::GoBinary& binary,
                                                 const model::ProcessKey& process,
                                                 const probe::RunningFile& program, uint64_t load_bias);

}  // namespace goheapd

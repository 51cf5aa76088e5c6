#include "daemon/probe/program_time.h"

#include "bpf/wire.h"

namespace goheapd::probe {
namespace {

// Sixteen timed runs.
constexpr uint64_t kEnoughHits = 16 * uint64_t{wire::kTimedRuns};

}  // namespace

uint64_t ProgramTime::observe(uint64_t hits, uint64_t program_ns) {
  if (hits < hits_ || program_ns < from_.program_ns) *this = ProgramTime();
  const uint64_t in_all = hits - from_.hits;
  if (in_all > 0) {
    const double each = static_cast<double>(program_ns - from_.program_ns) / static_cast<double>(in_all);
    sum_ns_ += static_cast<double>(hits - hits_) * each;
  }
  hits_ = hits;
  if (hits - next_.hits >= kEnoughHits) {
    from_ = next_;
    next_ = {hits, program_ns};
  }
  return static_cast<uint64_t>(sum_ns_);
}

}  // namespace goheapd::probe

#include "daemon/span_source.h"

#include <algorithm>

namespace goheapd {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
// Counters are read again at least this often.
constexpr uint64_t kMaxReadingAge = 10'000 * kMillisecond;
// After a cycle the runtime sweeps for a while: look again after this long, then after twice as long, ...
constexpr uint64_t kFirstSweepWait = 20 * kMillisecond;
constexpr unsigned kMostDoublings = 6;
constexpr uint64_t kRetryAfter = 100 * kMillisecond;
// At level sparse there are so many fewer samples than ever else; each is hit by more bytes, so they still add up.
constexpr uint64_t kSparseFactor = 16;
// Time between readings, in durations of a reading.
constexpr uint64_t kRestFactor = 2;

// A slice waits no longer for a reading of the memory of a large or a busy program.
constexpr uint64_t kLongestSliceWait = 500 * kMillisecond;

}  // namespace

void SpanSource::on(const model::GcProfileFlush& flush) {
  ledger_.on_cycle(flush);
  if (!flush.post_sweep) {
    unswept_readings_ = 0;
    const uint64_t gap = flush.time_ns - std::min(last_cycle_ns_, flush.time_ns);
    // An average of the last few.
    if (last_cycle_ns_ != 0) cycle_gap_ns_ = cycle_gap_ns_ == 0 ? gap : (3 * cycle_gap_ns_ + gap) / 4;
    last_cycle_ns_ = flush.time_ns;
  }
  wanted_ = true;
}

std::string_view SpanSource::why_no_windows() const {
  if (!windows_) return "they need uprobe_multi (Linux 6.6) and a program that can be counted exactly";
  if (windows_->too_dear())
    return "one would take more of the program's CPU time than --overhead-budget allows";
  return {};
}

void SpanSource::set_recording(bool on, uint64_t time_ns) {
  ledger_.set_recording(on, time_ns);
  wanted_ = true;
}

bool SpanSource::is_read_for_slice(uint64_t now_ns) {
  if (slice_asked_ns_ == 0) {
    slice_asked_ns_ = now_ns;
    wanted_ = true;
  }
  if (ledger_.reading_ns() < slice_asked_ns_ && now_ns - slice_asked_ns_ < kLongestSliceWait) return false;
  slice_asked_ns_ = 0;
  return true;
}

void SpanSource::begin_slice(uint64_t time_ns) {
  set_recording(true, time_ns);
  births_before_slice_ = ledger_.births();
}

void SpanSource::end_slice(uint64_t time_ns) {
  set_recording(false, time_ns);
  distance_.end_slice(ledger_.births() - births_before_slice_);
}

uint64_t SpanSource::mean_distance(probe::Level level) const {
  if (level == probe::Level::sparse) return kSparseFactor * SampleDistance::kSparsest;
  return level > probe::Level::sparse ? distance_.bytes() : distance_.bytes_in_slices();
}

bool SpanSource::reading_due(uint64_t now_ns) const {
  if (reading_in_flight()) return false;
  return next_.has_value() || (now_ns >= not_before_ns_ && (wanted_ || now_ns >= next_ns_));
}

std::vector<model::TrackedObject> SpanSource::start_reading() {
  wanted_ = false;
  if (next_)
    reading_ = std::exchange(next_, std::nullopt);
  else
    reading_.emplace();
  return ledger_.tracked();
}

void SpanSource::apply(const profile::SpanReading& reading, const profile::CountedElsewhere& counted) {
  ledger_.apply(reading, counted);
  const uint64_t end = reading.counters.end_ns;
  not_before_ns_ = end + kRestFactor * (end - std::min(end, reading.liveness.begin_ns));
  next_ns_ = end + kMaxReadingAge;
  if (!reading.swept) next_ns_ = end + (kFirstSweepWait << std::min(unswept_readings_++, kMostDoublings));
  finish_reading();
}

void SpanSource::reading_failed(uint64_t now_ns) {
  not_before_ns_ = next_ns_ = now_ns + kRetryAfter;
  finish_reading();
}

void SpanSource::release_reader() {
  released_ = true;
  if (reading_in_flight()) return;
  reader_.reset();
  if (next_) std::exchange(next_, std::nullopt)->ended.set_value();  // it will not come
}

std::shared_future<void> SpanSource::next_reading_end() {
  if (!next_) next_.emplace();
  return next_->end;
}

void SpanSource::finish_reading() {
  std::exchange(reading_, std::nullopt)->ended.set_value();
  if (released_) release_reader();
}

}  // namespace goheapd

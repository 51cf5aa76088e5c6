// Source spans of one target: its books, and when to look into its memory again.
//
//   GC cycle ─▶ due ─▶ tracked() ─▶ SpanReader (worker) ─▶ apply() ─▶ swept? ─no─▶ due again, soon
//
// Every cycle must be looked at before the next one has ended its marking; so a reading starts at once when a cycle ends,
// as far as readings do not take more than a third of a thread's time.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/alias_windows.h"
#include "daemon/model/event.h"
#include "daemon/probe/governor.h"
#include "daemon/profile/span_ledger.h"
#include "daemon/sample_distance.h"
#include "daemon/span_reader.h"

namespace goheapd {

class SpanSource {
 public:
  explicit SpanSource(std::shared_ptr<SpanReader> reader) : reader_(std::move(reader)) {}

  // Null: the process is gone.
  const std::shared_ptr<SpanReader>& reader() const { return reader_; }
  // The process has exited: lets go of what refers to it, once the reading in flight is over.
  void release_reader();
  profile::SpanLedger& ledger() { return ledger_; }
  const profile::SpanLedger& ledger() const { return ledger_; }

  // Null: no windows can be had.
  AliasWindows* windows() { return windows_ ? &*windows_ : nullptr; }
  const AliasWindows* windows() const { return windows_ ? &*windows_ : nullptr; }
  void start_windows(AliasWindows windows) { windows_ = windows; }
  // Why no window is opened that would divide shared size classes; empty: nothing is in the way.
  std::string_view why_no_windows() const;

  void on(const model::GcProfileFlush& flush);

  SampleDistance& distance() { return distance_; }
  const SampleDistance& distance() const { return distance_; }
  // Samples are taken from then on, or no more. A reading is due then: what has been allocated by then is to be told from
  // what comes.
  void set_recording(bool on, uint64_t time_ns);
  // A slice wants the counters read just before it: true when they are, or have been waited for long enough.
  bool is_read_for_slice(uint64_t now_ns);
  // What is sampled in between decides how densely the next slice is.
  void begin_slice(uint64_t time_ns);
  void end_slice(uint64_t time_ns);
  // Bytes to a sample where the target is watched at this level.
  uint64_t mean_distance(probe::Level level) const;
  // Between garbage collections of late; 0 = not known.
  uint64_t cycle_gap_ns() const { return cycle_gap_ns_; }

  bool reading_due(uint64_t now_ns) const;
  bool reading_in_flight() const { return reading_.has_value(); }
  // The objects that the reading shall ask for.
  std::vector<model::TrackedObject> start_reading();
  void apply(const profile::SpanReading& reading, const profile::CountedElsewhere& counted);
  void reading_failed(uint64_t now_ns);
  // Deaths of sampled objects that were found since the last call.
  uint64_t take_deaths() { return ledger_.deaths() - std::exchange(reported_deaths_, ledger_.deaths()); }
  // Ready when the next reading that starts from now on has been applied or has failed. It is due at once, or when that in
  // flight is over: what the program has allocated up to now may not be in that one.
  std::shared_future<void> next_reading_end();

 private:
  void finish_reading();

  std::shared_ptr<SpanReader> reader_;
  profile::SpanLedger ledger_;
  std::optional<AliasWindows> windows_;
  SampleDistance distance_;
  uint64_t births_before_slice_ = 0;
  uint64_t slice_asked_ns_ = 0;  // 0: none is waiting for a reading
  uint64_t last_cycle_ns_ = 0;
  uint64_t cycle_gap_ns_ = 0;
  struct Reading {
    Reading() : end(ended.get_future()) {}
    std::promise<void> ended;
    std::shared_future<void> end;
  };
  std::optional<Reading> reading_;  // in flight
  std::optional<Reading> next_;     // somebody waits for it
  bool released_ = false;
  bool wanted_ =
      false;  // since the last reading was started: a cycle has ended, or sampling has begun or ended
  uint64_t not_before_ns_ = 0;
  uint64_t next_ns_ = 0;  // a reading without a cycle
  unsigned unswept_readings_ = 0;
  uint64_t reported_deaths_ = 0;
};

}  // namespace goheapd

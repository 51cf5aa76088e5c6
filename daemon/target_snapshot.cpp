// What a target's books say at this moment, as a profile.
#include <array>
#include <cstdio>
#include <utility>

#include "daemon/base/clock.h"
#include "daemon/target.h"

namespace goheapd {
namespace {

// Of counted allocations.
void note_lost_stacks(const profile::ExactLedger& ledger, profile::RawSnapshot& snapshot) {
  if (const uint64_t objects = ledger.objects_without_stack(); objects != 0) {
    snapshot.comments.push_back(std::to_string(objects) + " objects have no stack: its record was lost");
  }
  if (ledger.truncated_stacks() != 0) {
    snapshot.comments.push_back(std::to_string(ledger.truncated_stacks()) +
                                " stacks are truncated at 127 frames");
  }
}

std::string slices_comment(const probe::Governor& governor, uint64_t now_ns) {
  std::array<char, 96> text{};
  std::snprintf(text.data(), text.size(), "samples are taken %.1f %% of the time, in slices of %.1f s: ",
                governor.slices().sampled_share(now_ns) * 100,
                static_cast<double>(governor.slices().slice_ns()) * 1e-9);
  return text.data();
}

}  // namespace

std::shared_ptr<const profile::RawSnapshot> Target::snapshot(const std::vector<std::string>& comments) const {
  auto snapshot = std::make_shared<profile::RawSnapshot>();
  snapshot->process = status_.process;
  snapshot->comm = status_.comm;
  snapshot->exe = status_.exe;
  snapshot->mode = model::name_of(status_.mode);
  snapshot->source = status_.source;
  snapshot->books = books_;
  snapshot->is_of_records = buckets_ && !exact_;
  const bool has_exited = status_.exited_wall_ns != 0;
  snapshot->end_wall_ns = has_exited ? status_.exited_wall_ns : wall_time_ns();
  snapshot->end_boot_ns = has_exited ? exited_boot_ns_ : boot_time_ns();
  if (buckets_) {
    fill_from_buckets(*snapshot);
  } else if (spans_) {
    snapshot->start_boot_ns = boot_time_of_ticks(key().start_time);
    const size_t unresolved = spans_->ledger().fill(*snapshot);
    if (snapshot->gc_cycle != 0) snapshot->comments.push_back(gc_.inuse_comment(snapshot->gc_cycle));
    if (const auto why = spans_->why_no_windows();
        is_live() && !is_exact() && !why.empty() && unresolved != 0)
      snapshot->comments.push_back("no windows are opened at the moment: " + std::string(why));
    if (exact_ && asked_mode_ == model::Mode::exact) {
      leave_alloc_to_counts(*snapshot);
    } else if (exact_) {
      add_counts(*snapshot);
    }
    const auto level = level_comments();
    snapshot->comments.insert(snapshot->comments.end(), level.begin(), level.end());
  } else if (exact_) {
    fill_from_counts(*snapshot);
  }
  if (!status_.pod.empty()) {
    std::string where = "pod " + status_.namespace_name + "/" + status_.pod;
    if (!status_.container.empty()) where += ", container " + status_.container;
    if (const auto& facts = status_.pod_facts; facts && !facts->workload.name.empty()) {
      where += ", " + facts->workload.kind + " " + facts->workload.name;
    }
    snapshot->comments.push_back(std::move(where));
  }
  snapshot->comments.insert(snapshot->comments.end(), comments.begin(), comments.end());
  return snapshot;
}

// What of the time the samples are of: as it was last, when the process has exited.
std::vector<std::string> Target::level_comments() const {
  if (!is_live()) return level_comments_;
  if (!governor_ || !spans_) return {};
  if (governor_->level() <= probe::Level::buckets)
    return {"no samples are taken at the moment: " + status_.reason};
  if (governor_->level() == probe::Level::slices)
    return {slices_comment(*governor_, kernel_time_ns()) + status_.reason};
  return {};
}

// Beside the sampled values of other times.
void Target::add_counts(profile::RawSnapshot& snapshot) const {
  snapshot.counted = exact_->samples();
  snapshot.comments.emplace_back(
      "alloc values up to now; every allocation was counted while the mode was exact, the others are "
      "sampled");
  note_lost_stacks(*exact_, snapshot);
}

// Everything since goheapd came was counted.
void Target::leave_alloc_to_counts(profile::RawSnapshot& snapshot) const {
  for (profile::RawSample& sample : snapshot.samples) {
    sample.published.alloc_objects = sample.published.alloc_bytes = 0;
    sample.now_alloc_objects = sample.now_alloc_bytes = 0;
  }
  snapshot.counted = exact_->samples();
  snapshot.comments.emplace_back(
      "alloc values count every allocation since goheapd attached; inuse values are sampled");
  note_lost_stacks(*exact_, snapshot);
}

void Target::fill_from_counts(profile::RawSnapshot& snapshot) const {
  snapshot.start_boot_ns = attached_boot_ns_;
  exact_->fill(snapshot);
  snapshot.comments.emplace_back("counts every allocation since goheapd attached");
  note_lost_stacks(*exact_, snapshot);
}

void Target::fill_from_buckets(profile::RawSnapshot& snapshot) const {
  snapshot.start_boot_ns = boot_time_of_ticks(key().start_time);
  buckets_->fill(snapshot);
  snapshot.gc_cycle = gc_.published_cycle(snapshot.gc_cycle);
  snapshot.comments.push_back(gc_.inuse_comment(snapshot.gc_cycle));
  if (!buckets_->last_reading_consistent()) {
    snapshot.comments.emplace_back(
        "the runtime changed its records while they were read; a few may be one GC cycle apart");
  }
  if (!is_live()) {
    // No GC will publish any more what was allocated last.
    for (profile::RawSample& sample : snapshot.samples) {
      sample.published.alloc_objects = sample.now_alloc_objects;
      sample.published.alloc_bytes = sample.now_alloc_bytes;
    }
    snapshot.comments.emplace_back(
        "the process has exited; inuse as of its last completed GC cycle that was read");
    if (unread_samples() != 0) {
      snapshot.comments.push_back(
          std::to_string(unread_samples()) +
          " sampled objects are missing: the process ended before their stacks were read");
    }
  }
  if (buckets_->settled_objects() != 0) {
    snapshot.comments.push_back(
        std::to_string(buckets_->settled_objects()) +
        " sampled objects where events and the runtime's records differed were settled for the records");
  }
  if (status_.source == model::kSourceEnabled) {
    snapshot.comments.emplace_back(
        "goheapd switched the runtime's sampler on when it attached (--allow-runtime-sampling): older "
        "objects are unknown");
  }
  if (exact_) add_counts(snapshot);
}

}  // namespace goheapd

#include "daemon/profile/bucket_ledger.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "daemon/profile/unsampling.h"

namespace goheapd::profile {
namespace {

// The runtime counts an allocation shortly before, a free shortly after the instruction we probe; a thread
// that is preempted in between needs one scheduling round to get from one to the other.
constexpr uint64_t kProbeToCounterSlackNs = 20'000'000;

// Kept for settling; with a reading at least every 10 s this is 100,000 samples per second.
constexpr size_t kMaxPendingEvents = 1'000'000;

const StackPtr kNoStack = std::make_shared<const std::vector<uint64_t>>();

uint64_t distance_outside(uint64_t observed, uint64_t certain, uint64_t possible) {
  if (observed < certain) return certain - observed;
  if (observed > certain + possible) return observed - certain - possible;
  return 0;
}

}  // namespace

void BucketLedger::count_event(uint64_t bucket_address, bool is_birth) {
  auto found = buckets_.find(bucket_address);
  if (found == buckets_.end()) {
    if (is_birth) ++unknown_births_;
    return;
  }
  Bucket& bucket = found->second;
  const auto size = static_cast<double>(bucket.object_size);
  const double factor = unsampling_factor(size, sample_rate_);
  if (is_birth) {
    ++bucket.since.allocs;
    if (!counts_elsewhere_) {
      alloc_objects_[static_cast<size_t>(bucket.kind)] += factor;
      alloc_bytes_[static_cast<size_t>(bucket.kind)] += factor * size;
    }
    live_objects_ += factor;
    live_bytes_ += factor * size;
  } else {
    ++bucket.since.frees;
    live_objects_ -= factor;
    live_bytes_ -= factor * size;
  }
}

uint64_t BucketLedger::counted_allocs(const Bucket& bucket) const {
  const uint64_t allocs =
      counts_elsewhere_ ? std::min(bucket.elsewhere_from, bucket.allocs()) : bucket.allocs();
  return allocs - std::min(allocs, bucket.elsewhere);
}

void BucketLedger::set_alloc_counted_elsewhere(bool elsewhere) {
  if (elsewhere == counts_elsewhere_) return;
  for (auto& [address, bucket] : buckets_) {
    if (elsewhere) {
      bucket.elsewhere_from = bucket.allocs();
    } else {
      bucket.elsewhere += bucket.allocs() - std::min(bucket.allocs(), bucket.elsewhere_from);
    }
  }
  counts_elsewhere_ = elsewhere;
  ever_elsewhere_ = true;
}

void BucketLedger::on_birth(const model::SampledBirth& birth) {
  if (pending_.size() < kMaxPendingEvents) pending_.push_back({birth.time_ns, birth.bucket, true});
  // An event that the last reading has already counted must not count twice.
  if (birth.time_ns > reading_end_ns_) count_event(birth.bucket, true);
}

void BucketLedger::on_death(const model::SampledDeath& death) {
  if (pending_.size() < kMaxPendingEvents) pending_.push_back({death.time_ns, death.bucket, false});
  if (death.time_ns > reading_end_ns_) count_event(death.bucket, false);
}

void BucketLedger::settle(const model::BucketReading& reading) {
  struct Seen {
    model::ObjectCounts certain;
    model::ObjectCounts possible;
  };
  std::unordered_map<uint64_t, Seen> seen;
  const uint64_t certain_from = reading_end_ns_ + kProbeToCounterSlackNs;
  const uint64_t certain_to = reading.begin_ns - std::min(reading.begin_ns, kProbeToCounterSlackNs);
  for (const PendingEvent& event : pending_) {
    if (event.time_ns > reading.end_ns + kProbeToCounterSlackNs) continue;
    Seen& entry = seen[event.bucket];
    model::ObjectCounts& counts =
        event.time_ns > certain_from && event.time_ns < certain_to ? entry.certain : entry.possible;
    ++(event.is_birth ? counts.allocs : counts.frees);
  }
  for (const model::BucketRecord& record : reading.buckets) {
    model::ObjectCounts before;
    if (auto found = buckets_.find(record.address); found != buckets_.end()) before = found->second.fresh;
    Seen events;
    if (auto found = seen.find(record.address); found != seen.end()) events = found->second;
    // Counters of the runtime never fall; a torn reading may show less than the one before.
    const uint64_t allocs = record.fresh.allocs - std::min(record.fresh.allocs, before.allocs);
    const uint64_t frees = record.fresh.frees - std::min(record.fresh.frees, before.frees);
    settled_objects_ += distance_outside(allocs, events.certain.allocs, events.possible.allocs);
    settled_objects_ += distance_outside(frees, events.certain.frees, events.possible.frees);
  }
}

uint32_t BucketLedger::intern_site(const std::string& name) {
  auto [entry, inserted] = site_ids_.try_emplace(name, static_cast<uint32_t>(site_names_.size()));
  if (inserted) site_names_.push_back(name);
  return entry->second;
}

void BucketLedger::adopt_stack(model::BucketRecord& record) {
  if (record.stack.empty()) return;
  auto found = buckets_.find(record.address);
  if (found != buckets_.end() && found->second.stack->empty()) {
    found->second.stack = std::make_shared<const std::vector<uint64_t>>(std::move(record.stack));
  }
}

void BucketLedger::adopt_sites(const std::vector<BucketSite>& sites) {
  for (const BucketSite& site : sites) {
    auto found = buckets_.find(site.bucket);
    if (found == buckets_.end()) continue;
    found->second.kind = site.kind;
    found->second.site = intern_site(site.function);
  }
}

void BucketLedger::apply(model::BucketReading reading, const std::vector<BucketSite>& new_sites) {
  if (has_reading() && reading.begin_ns < reading_end_ns_) {
    // Its counts are old news, but stacks and names are delivered only once.
    for (model::BucketRecord& record : reading.buckets) adopt_stack(record);
    adopt_sites(new_sites);
    return;
  }
  const bool first_reading = !has_reading();
  if (has_events_ && !first_reading && reading.consistent) settle(reading);

  for (model::BucketRecord& record : reading.buckets) {
    auto [entry, inserted] = buckets_.try_emplace(record.address);
    Bucket& bucket = entry->second;
    if (inserted) {
      bucket.object_size = record.object_size;
      bucket.stack = kNoStack;
      if (first_reading) bucket.first = record.fresh;
    }
    adopt_stack(record);
    bucket.published = record.published;
    bucket.fresh = record.fresh;
    bucket.since = {};
  }
  adopt_sites(new_sites);
  reading_begin_ns_ = reading.begin_ns;
  reading_end_ns_ = reading.end_ns;
  sample_rate_ = reading.sample_rate;
  profile_cycle_ = reading.profile_cycle;
  last_consistent_ = reading.consistent;
  unknown_births_ = 0;
  recompute_totals();

  // Events the reading has seen are done with; those after it count on top of it.
  const uint64_t keep_from = reading.begin_ns - std::min(reading.begin_ns, kProbeToCounterSlackNs);
  std::erase_if(pending_, [&](const PendingEvent& event) { return event.time_ns < keep_from; });
  for (const PendingEvent& event : pending_) {
    if (event.time_ns > reading_end_ns_) count_event(event.bucket, event.is_birth);
  }
}

void BucketLedger::recompute_totals() {
  std::array<double, model::kAllocationKinds> bytes{};
  std::array<double, model::kAllocationKinds> objects{};
  live_bytes_ = 0;
  live_objects_ = 0;
  for (const auto& [address, bucket] : buckets_) {
    const auto size = static_cast<double>(bucket.object_size);
    const double factor = unsampling_factor(size, sample_rate_);
    const uint64_t counted = counted_allocs(bucket);
    const double allocs = static_cast<double>(counted - std::min(counted, bucket.first.allocs)) * factor;
    const double live =
        (static_cast<double>(bucket.fresh.allocs) - static_cast<double>(bucket.fresh.frees)) * factor;
    objects[static_cast<size_t>(bucket.kind)] += allocs;
    bytes[static_cast<size_t>(bucket.kind)] += allocs * size;
    live_objects_ += live;
    live_bytes_ += live * size;
  }
  for (size_t kind = 0; kind < model::kAllocationKinds; ++kind) {
    alloc_bytes_[kind] = std::max(alloc_bytes_[kind], bytes[kind]);
    alloc_objects_[kind] = std::max(alloc_objects_[kind], objects[kind]);
  }
}

double BucketLedger::live_bytes() const { return std::max(0.0, live_bytes_); }
double BucketLedger::live_objects() const { return std::max(0.0, live_objects_); }

std::vector<SiteTotals> BucketLedger::sites() const {
  std::vector<SiteTotals> totals(site_names_.size());
  for (size_t id = 0; id < totals.size(); ++id) totals[id].function = site_names_[id];
  for (const auto& [address, bucket] : buckets_) {
    const auto size = static_cast<double>(bucket.object_size);
    const double weight = size * unsampling_factor(size, sample_rate_);
    SiteTotals& site = totals[bucket.site];
    site.live_bytes += weight * (static_cast<double>(bucket.fresh.allocs + bucket.since.allocs) -
                                 static_cast<double>(bucket.fresh.frees + bucket.since.frees));
    const uint64_t counted = counted_allocs(bucket);
    site.alloc_bytes += weight * static_cast<double>(counted - std::min(counted, bucket.first.allocs));
  }
  return totals;
}

void BucketLedger::fill(RawSnapshot& snapshot) const {
  snapshot.sample_rate = sample_rate_;
  snapshot.logical_stacks = true;
  snapshot.has_inuse = true;
  snapshot.gc_cycle = profile_cycle_;
  snapshot.samples.reserve(buckets_.size());
  for (const auto& [address, bucket] : buckets_) {
    RawSample sample;
    sample.key = {.stack = address, .type = 0, .size_class = 0, .tiny = false};
    sample.stack = bucket.stack;
    sample.object_bytes = bucket.object_size;
    const auto size = static_cast<int64_t>(bucket.object_size);
    sample.now_alloc_objects = static_cast<int64_t>(counted_allocs(bucket));
    sample.now_alloc_bytes = sample.now_alloc_objects * size;
    // What the next cycle publishes may have been allocated before another source began to count.
    sample.published.alloc_objects =
        ever_elsewhere_ ? sample.now_alloc_objects : static_cast<int64_t>(bucket.published.allocs);
    sample.published.inuse_objects = static_cast<int64_t>(bucket.published.allocs - bucket.published.frees);
    sample.published.alloc_bytes = sample.published.alloc_objects * size;
    sample.published.inuse_bytes = sample.published.inuse_objects * size;
    if (sample.published != model::HeapValues{} || sample.now_alloc_objects != 0)
      snapshot.samples.push_back(std::move(sample));
  }
}

}  // namespace goheapd::profile

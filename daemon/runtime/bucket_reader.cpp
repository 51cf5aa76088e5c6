#include "daemon/runtime/bucket_reader.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <thread>

#include "daemon/base/clock.h"

namespace goheapd::runtime {
namespace {

// A flush takes about as long as we do. Under permanent garbage collection one double collect in four fails, so
// that sixteen in a row mean that something is wrong with the target.
constexpr uint32_t kMaxRetries = 16;

// Lets the flush that is in our way go on.
constexpr std::chrono::microseconds kPause{200};

}  // namespace

BucketReader::BucketReader(const RuntimeView& view)
    : view_(&view), list_(view), gather_(view.memory(), view.layout().mem_record.sizeof_struct) {}

Expected<void> BucketReader::adopt_new_buckets() {
  const size_t before = buckets_.size();
  if (auto walked = list_.walk_new(buckets_); !walked) return walked;
  if (buckets_.size() == before) return {};
  const auto by_counters = [](const Bucket& a, const Bucket& b) { return a.counters < b.counters; };
  const auto middle = buckets_.begin() + static_cast<std::ptrdiff_t>(before);
  for (auto bucket = middle; bucket != buckets_.end(); ++bucket) {
    undelivered_[bucket->address] = std::move(bucket->stack);
    bucket->stack = {};
  }
  std::sort(middle, buckets_.end(), by_counters);
  std::inplace_merge(buckets_.begin(), middle, buckets_.end(), by_counters);
  record_addresses_.clear();
  for (const Bucket& bucket : buckets_) record_addresses_.push_back(bucket.counters);
  return {};
}

Expected<BucketReader::Moment> BucketReader::read_moment() const {
  const auto& addresses = view_->addresses();
  const auto cycle = view_->memory().read<uint32_t>(addresses.mprof_cycle);
  if (!cycle) return Unexpected(cycle.error());
  // Bit 0: "cycle C has been flushed", set before the flush is done. MemProfile does not ask for it, nor do we:
  // future[C % 3] is added always, and is zero after the flush.
  Moment moment{*cycle >> 1, false};
  if (addresses.prof_mem_active_lock != 0) {
    // The first word of a mutex: 0 = free, in all variants of it.
    const auto lock = view_->memory().read<uint64_t>(addresses.prof_mem_active_lock);
    if (!lock) return Unexpected(lock.error());
    moment.flushing = *lock != 0;
  }
  return moment;
}

Expected<BucketReader::Counters> BucketReader::parse(ByteView record) const {
  const auto& layout = view_->layout();
  const auto cycle_at = [&](uint64_t offset) {
    return Cycle{gobin::read_field(record, layout.mem_record_cycle.allocs, offset).value_or(0),
                 gobin::read_field(record, layout.mem_record_cycle.frees, offset).value_or(0)};
  };
  // Buckets are never unmapped while the process lives.
  if (record.empty()) {
    return fail("a memory profile bucket has vanished", "pid " + std::to_string(view_->memory().pid()),
                EFAULT);
  }
  Counters counters;
  counters.active = cycle_at(layout.mem_record.active.offset);
  for (uint64_t i = 0; i < 3; ++i) {
    counters.future[i] =
        cycle_at(layout.mem_record.future.offset + i * layout.mem_record_cycle.sizeof_struct);
  }
  return counters;
}

Expected<bool> BucketReader::double_collect(Moment& moment) {
  Expected<void> vanished;
  first_.clear();
  const auto collected = gather_.read(record_addresses_, [&](size_t, ByteView record) {
    const auto counters = parse(record);
    if (counters)
      first_.push_back(*counters);
    else
      vanished = Unexpected(counters.error());
    return counters.has_value();
  });
  if (!collected) return Unexpected(collected.error());
  if (!vanished) return Unexpected(vanished.error());

  const auto now = read_moment();
  if (!now) return Unexpected(now.error());
  moment = *now;
  if (moment.flushing) return false;

  const size_t published = moment.cycle % 3;
  bool same = true;
  const auto again = gather_.read(record_addresses_, [&](size_t index, ByteView record) {
    const auto second = parse(record);
    if (!second) {
      vanished = Unexpected(second.error());
      return false;
    }
    const Counters& first = first_[index];
    same = first.active == second->active && first.future[published] == second->future[published];
    // Until it is flushed, which changes `active`, each future only grows. Where one shrank nevertheless, one of
    // the two copies was torn by a flush.
    for (size_t i = 0; i < 3; ++i) {
      same = same && second->future[i].allocs >= first.future[i].allocs &&
             second->future[i].frees >= first.future[i].frees;
    }
    return same;
  });
  if (!again) return Unexpected(again.error());
  if (!vanished) return Unexpected(vanished.error());
  return same;
}

Expected<model::BucketReading> BucketReader::read() {
  model::BucketReading reading;
  reading.begin_ns = kernel_time_ns();
  const auto rate = view_->sample_rate();
  if (!rate) return Unexpected(rate.error());
  reading.sample_rate = *rate;

  Moment moment;
  for (;;) {
    if (const auto adopted = adopt_new_buckets(); !adopted) return Unexpected(adopted.error());
    const auto consistent = double_collect(moment);
    if (!consistent) return Unexpected(consistent.error());
    reading.consistent = *consistent;
    if (*consistent || reading.retries == kMaxRetries) break;
    ++reading.retries;
    std::this_thread::sleep_for(kPause);
  }
  if (const auto same = view_->memory().verify(); !same) return Unexpected(same.error());
  reading.end_ns = kernel_time_ns();
  reading.profile_cycle = moment.cycle;
  reading.truncated = list_.truncated();

  reading.buckets.reserve(buckets_.size());
  bool any_published = false;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    const Counters& counters = first_[i];
    const Cycle& next = counters.future[moment.cycle % 3];
    model::BucketRecord record;
    record.address = buckets_[i].address;
    record.object_size = buckets_[i].object_size;
    record.published = {counters.active.allocs + next.allocs, counters.active.frees + next.frees};
    record.fresh = {counters.active.allocs, counters.active.frees};
    for (const Cycle& future : counters.future) {
      record.fresh.allocs += future.allocs;
      record.fresh.frees += future.frees;
    }
    any_published |= record.published.allocs != 0 || record.published.frees != 0;
    if (const auto stack = undelivered_.find(record.address); stack != undelivered_.end()) {
      record.stack = std::move(stack->second);
    }
    reading.buckets.push_back(std::move(record));
  }
  undelivered_.clear();
  // No garbage collection yet: MemProfile then shows all there is.
  // https://github.com/golang/go/blob/go1.24.4/src/runtime/mprof.go#L1038
  if (!any_published) {
    for (model::BucketRecord& record : reading.buckets) record.published = record.fresh;
  }
  return reading;
}

}  // namespace goheapd::runtime

#include "daemon/target_reader.h"

#include <utility>

#include "daemon/profile/symbolized_snapshot.h"
#include "daemon/runtime/self_check.h"

namespace goheapd {

TargetReader::TargetReader(runtime::RuntimeView view, std::shared_ptr<const gobin::GoBinary> binary,
                           uint64_t load_bias)
    : binary_(std::move(binary)),
      load_bias_(load_bias),
      view_(std::move(view)),
      allocator_(view_),
      buckets_(view_),
      gc_(view_) {}

Expected<std::shared_ptr<TargetReader>> TargetReader::open(const process::ProcFs& proc,
                                                           std::shared_ptr<const gobin::GoBinary> binary,
                                                           pid_t pid, uint64_t load_bias) {
  auto view = runtime::RuntimeView::open(proc, *binary, pid);
  if (!view) return Unexpected(view.error());
  if (auto believable = runtime::runtime_self_check(*view); !believable)
    return Unexpected(believable.error());
  return std::shared_ptr<TargetReader>(new TargetReader(std::move(*view), std::move(binary), load_bias));
}

Expected<TargetReading> TargetReader::read() {
  std::lock_guard lock(mutex_);
  TargetReading reading;
  auto buckets = buckets_.read();
  if (!buckets) return Unexpected(buckets.error());
  reading.buckets = std::move(*buckets);
  for (const model::BucketRecord& record : reading.buckets.buckets) {
    if (record.stack.empty()) continue;  // known from an earlier reading
    auto site = profile::site_of_logical_stack(*binary_, load_bias_, record.stack);
    reading.new_sites.push_back({record.address, site.kind, std::move(site.function)});
  }
  reading.described_buckets = new_buckets_.complete(reading.buckets, reading.new_sites);
  const uint64_t record_bytes = view_.addresses().memstats + view_.layout().mstats.buckhash_sys.offset;
  if (const auto bytes = view_.memory().read<uint64_t>(record_bytes)) reading.record_bytes = *bytes;
  // Pauses are an extra: a profile without them is still a profile.
  if (auto gc = gc_.read()) reading.gc = std::move(*gc);
  return reading;
}

Expected<uint64_t> TargetReader::allocated_objects() {
  std::lock_guard lock(allocator_mutex_);
  const auto reading = allocator_.read();
  if (!reading) return Unexpected(reading.error());
  uint64_t objects = reading->tiny_allocs + reading->large.allocs;
  for (const model::ClassCounts& counts : reading->small) objects += counts.allocs;
  return objects;
}

}  // namespace goheapd

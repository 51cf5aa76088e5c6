#include "daemon/profile/raw_snapshot.h"

#include <map>

namespace goheapd::profile {

Expected<RawSnapshot> difference(const RawSnapshot& end, const RawSnapshot& begin) {
  if (end.process != begin.process) return fail("the process was replaced while its profile was taken");
  if (end.mode != begin.mode)
    return fail("the profiling mode changed while the profile was taken; try again");

  std::map<SampleKey, const RawSample*> before;
  for (const RawSample& sample : begin.samples) before.emplace(sample.key, &sample);

  RawSnapshot delta = end;
  delta.is_delta = true;
  delta.start_wall_ns = begin.end_wall_ns;
  delta.samples.clear();
  if (begin.sample_rate != end.sample_rate) {
    delta.comments.push_back("MemProfileRate changed from " + std::to_string(begin.sample_rate) + " to " +
                             std::to_string(end.sample_rate) +
                             " in between; all is scaled with the new rate");
  }
  for (const RawSample& sample : end.samples) {
    RawSample change = sample;
    change.published.alloc_objects = sample.now_alloc_objects;
    change.published.alloc_bytes = sample.now_alloc_bytes;
    if (auto found = before.find(sample.key); found != before.end()) {
      const RawSample& old = *found->second;
      change.published.alloc_objects -= old.now_alloc_objects;
      change.published.alloc_bytes -= old.now_alloc_bytes;
      change.published.inuse_objects -= old.published.inuse_objects;
      change.published.inuse_bytes -= old.published.inuse_bytes;
    }
    change.now_alloc_objects = change.published.alloc_objects;
    change.now_alloc_bytes = change.published.alloc_bytes;
    if (change.published != model::HeapValues{}) delta.samples.push_back(std::move(change));
  }
  return delta;
}

}  // namespace goheapd::profile

#include "daemon/profile/raw_snapshot.h"

#include <map>
#include <utility>

namespace goheapd::profile {

namespace {

void subtract(model::HeapValues& values, const RawSample& old) {
  values.alloc_objects -= old.now_alloc_objects;
  values.alloc_bytes -= old.now_alloc_bytes;
  values.inuse_objects -= old.published.inuse_objects;
  values.inuse_bytes -= old.published.inuse_bytes;
}

std::vector<RawSample> changes(const std::vector<RawSample>& end, const std::vector<RawSample>& begin) {
  std::map<SampleKey, const RawSample*> before;
  for (const RawSample& sample : begin) before.emplace(sample.key, &sample);
  std::vector<RawSample> changed;
  const auto add = [&changed](RawSample change) {
    change.now_alloc_objects = change.published.alloc_objects;
    change.now_alloc_bytes = change.published.alloc_bytes;
    if (change.published != model::HeapValues{}) changed.push_back(std::move(change));
  };
  for (const RawSample& sample : end) {
    RawSample change = sample;
    change.published.alloc_objects = sample.now_alloc_objects;
    change.published.alloc_bytes = sample.now_alloc_bytes;
    if (auto found = before.find(sample.key); found != before.end()) {
      subtract(change.published, *found->second);
      before.erase(found);
    }
    add(std::move(change));
  }
  // What has nothing any more is in no snapshot: what was in use is not, and what had no stack got one.
  for (const auto& [key, sample] : before) {
    RawSample change = *sample;
    change.published = {};
    subtract(change.published, *sample);
    add(std::move(change));
  }
  return changed;
}

}  // namespace

Expected<RawSnapshot> difference(const RawSnapshot& end, const RawSnapshot& begin) {
  if (end.process != begin.process) return fail("the process was replaced while its profile was taken");
  if (end.logical_stacks != begin.logical_stacks || end.source != begin.source)
    return fail("the source of the profile changed while it was taken; try again");
  if (end.books != begin.books && !(end.is_of_records && begin.is_of_records))
    return fail("goheapd attached to the process anew while its profile was taken; try again");

  RawSnapshot delta = end;
  delta.is_delta = true;
  delta.start_boot_ns = begin.end_boot_ns;
  delta.samples = changes(end.samples, begin.samples);
  delta.counted = changes(end.counted, begin.counted);
  // What is scaled already was taken at the distance that each sample tells.
  if (begin.sample_rate != end.sample_rate && !end.is_scaled) {
    delta.comments.push_back("MemProfileRate changed from " + std::to_string(begin.sample_rate) + " to " +
                             std::to_string(end.sample_rate) +
                             " in between; all is scaled with the new rate");
  }
  return delta;
}

}  // namespace goheapd::profile

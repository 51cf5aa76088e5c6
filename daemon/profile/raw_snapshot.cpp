#include "daemon/profile/raw_snapshot.h"

#include <algorithm>
#include <cmath>
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

// Size classes whose remainder has shrunk: their stacks have been given so much of what was allocated before.
void leave_out_given(std::vector<RawSample>& changed) {
  struct Class {
    int64_t given_bytes = 0;
    int64_t given_objects = 0;
    double grown_bytes = 0;
    double grown_objects = 0;
  };
  std::map<uint32_t, Class> classes;
  const auto class_of = [](const RawSample& change) { return change.key.size_class >> 1; };
  for (RawSample& change : changed) {
    model::HeapValues& values = change.published;
    Class& its = classes[class_of(change)];
    if (!change.is_remainder) {
      its.grown_bytes += static_cast<double>(std::max<int64_t>(0, values.alloc_bytes));
      its.grown_objects += static_cast<double>(std::max<int64_t>(0, values.alloc_objects));
    } else if (values.alloc_bytes < 0) {
      its.given_bytes -= std::exchange(values.alloc_bytes, 0);
      its.given_objects -= std::min<int64_t>(0, std::exchange(values.alloc_objects, 0));
    }
  }
  const auto reduce = [](int64_t& value, int64_t given, double grown) {
    if (value <= 0 || given <= 0) return;
    const double left = std::max(0.0, 1 - static_cast<double>(given) / grown);
    value = std::llround(static_cast<double>(value) * left);
  };
  for (RawSample& change : changed) {
    const Class& its = classes[class_of(change)];
    if (change.is_remainder) continue;
    reduce(change.published.alloc_bytes, its.given_bytes, its.grown_bytes);
    reduce(change.published.alloc_objects, its.given_objects, its.grown_objects);
  }
}

std::vector<RawSample> changes(const std::vector<RawSample>& end, const std::vector<RawSample>& begin) {
  std::map<SampleKey, const RawSample*> before;
  for (const RawSample& sample : begin) before.emplace(sample.key, &sample);
  std::vector<RawSample> changed;
  changed.reserve(end.size());
  for (const RawSample& sample : end) {
    RawSample change = sample;
    change.published.alloc_objects = sample.now_alloc_objects;
    change.published.alloc_bytes = sample.now_alloc_bytes;
    if (auto found = before.find(sample.key); found != before.end()) {
      subtract(change.published, *found->second);
      before.erase(found);
    }
    changed.push_back(std::move(change));
  }
  // What has nothing any more is in no snapshot: what was in use is not, and what had no stack got one.
  for (const auto& [key, sample] : before) {
    RawSample change = *sample;
    change.published = {};
    subtract(change.published, *sample);
    changed.push_back(std::move(change));
  }
  leave_out_given(changed);
  std::erase_if(changed, [](const RawSample& change) { return change.published == model::HeapValues{}; });
  for (RawSample& change : changed) {
    change.now_alloc_objects = change.published.alloc_objects;
    change.now_alloc_bytes = change.published.alloc_bytes;
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

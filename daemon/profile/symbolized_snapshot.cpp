#include "daemon/profile/symbolized_snapshot.h"

#include <map>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/profile/site_classifier.h"
#include "daemon/profile/unsampling.h"

namespace goheapd::profile {
namespace {

constexpr uint64_t kPageSize = 4096;

std::vector<uint64_t> without_bias(std::span<const uint64_t> stack, uint64_t bias) {
  std::vector<uint64_t> pcs(stack.begin(), stack.end());
  for (uint64_t& pc : pcs) pc -= bias;
  return pcs;
}

// Collects what a profile shares between its samples: every function, location and mapping once.
class Tables {
 public:
  Tables(model::HeapSnapshot& snapshot, const gobin::GoBinary& binary, uint64_t bias, const std::string& exe)
      : snapshot_(snapshot), bias_(bias) {
    const gobin::BinaryInfo& info = binary.info();
    for (const gobin::ElfSegment& segment : binary.elf().loads()) {
      if (!segment.executable) continue;
      const uint64_t start = segment.vaddr / kPageSize * kPageSize;
      const uint64_t limit = (segment.vaddr + segment.memory_size + kPageSize - 1) / kPageSize * kPageSize;
      snapshot_.mappings.push_back({start + bias, limit + bias, segment.offset - (segment.vaddr - start), exe,
                                    info.gnu_build_id.empty() ? info.go_build_id : info.gnu_build_id});
    }
  }

  uint32_t location(const gobin::CodeLocation& code) {
    // One address can stand for different frames: a stack that was cut inside an inlined call has fewer.
    const auto key =
        std::tuple(code.address, code.frames.size(), code.frames.empty() ? 0 : code.frames.front().line);
    auto [entry, inserted] = locations_.try_emplace(key, static_cast<uint32_t>(snapshot_.locations.size()));
    if (!inserted) return entry->second;
    model::Location location;
    location.address = code.address + bias_;
    if (code.entry != 0) location.entry = code.entry + bias_;
    for (uint32_t i = 0; i < snapshot_.mappings.size(); ++i) {
      const model::Mapping& mapping = snapshot_.mappings[i];
      if (location.address >= mapping.start && location.address < mapping.limit) location.mapping = i + 1;
    }
    for (const gobin::SourceFrame& frame : code.frames) {
      if (frame.function.empty()) continue;
      location.lines.push_back({function(frame), frame.line});
    }
    snapshot_.locations.push_back(std::move(location));
    return entry->second;
  }

  // A location that is no place in the program but a statement about the profile.
  uint32_t note(const std::string& text) {
    auto [entry, inserted] = notes_.try_emplace(text, static_cast<uint32_t>(snapshot_.locations.size()));
    if (inserted) {
      snapshot_.functions.push_back({text, "", 0});
      snapshot_.locations.push_back({0, 0, {{static_cast<uint32_t>(snapshot_.functions.size() - 1), 0}}});
    }
    return entry->second;
  }

 private:
  uint32_t function(const gobin::SourceFrame& frame) {
    auto [entry, inserted] = functions_.try_emplace(std::pair(frame.function, frame.file),
                                                    static_cast<uint32_t>(snapshot_.functions.size()));
    if (inserted) {
      snapshot_.functions.push_back({std::string(frame.function), std::string(frame.file), frame.start_line});
    }
    return entry->second;
  }

  model::HeapSnapshot& snapshot_;
  uint64_t bias_;
  std::map<std::tuple<uint64_t, size_t, int32_t>, uint32_t> locations_;
  std::map<std::pair<std::string_view, std::string_view>, uint32_t> functions_;
  std::map<std::string, uint32_t> notes_;
};

model::HeapValues unsampled(const model::HeapValues& values, uint64_t rate) {
  const Scaled alloc = unsample(values.alloc_objects, values.alloc_bytes, rate);
  const Scaled inuse = unsample(values.inuse_objects, values.inuse_bytes, rate);
  return {alloc.objects, alloc.bytes, inuse.objects, inuse.bytes};
}

NamedSite named_site(const gobin::Symbolizer& symbolizer, std::span<const uint64_t> pcs,
                     const std::vector<gobin::CodeLocation>& locations) {
  std::vector<std::string_view> names;
  if (!pcs.empty()) {
    if (auto callee = symbolizer.callee_before(pcs.front()); callee && is_runtime_function(*callee)) {
      names.push_back(*callee);
    }
  }
  for (const gobin::CodeLocation& location : locations) {
    for (const gobin::SourceFrame& frame : location.frames) names.push_back(frame.function);
  }
  const AllocationSite site = classify(names);
  return {site.kind, site.function.empty() ? std::string(kOtherSite) : gobin::printable_name(site.function)};
}

}  // namespace

model::HeapSnapshotPtr symbolize(const RawSnapshot& raw, const gobin::GoBinary& binary, uint64_t load_bias) {
  auto snapshot = std::make_shared<model::HeapSnapshot>();
  snapshot->process = raw.process;
  snapshot->comm = raw.comm;
  snapshot->start_wall_ns = raw.end_wall_ns - (raw.end_boot_ns - raw.start_boot_ns);
  snapshot->end_wall_ns = raw.end_wall_ns;
  snapshot->is_delta = raw.is_delta;
  snapshot->sample_rate = raw.sample_rate;
  snapshot->is_scaled = raw.is_scaled;
  snapshot->has_inuse = raw.has_inuse;
  snapshot->gc_cycle = raw.gc_cycle;
  snapshot->mode = raw.mode;
  snapshot->source = raw.source;
  snapshot->comments = raw.comments;

  Tables tables(*snapshot, binary, load_bias, raw.exe);
  const gobin::Symbolizer& symbolizer = binary.symbolizer();
  const auto add = [&](const RawSample& sample, bool logical_stack, uint64_t rate) {
    // A bucket that has only allocations which no GC has published yet is not in the program's own profile either.
    if (sample.published == model::HeapValues{}) return;
    const std::vector<uint64_t> pcs = without_bias(*sample.stack, load_bias);
    const auto locations = logical_stack ? symbolizer.locations_of_logical_stack(pcs)
                                         : symbolizer.locations_of_return_addresses(pcs);
    model::Sample result;
    for (const gobin::CodeLocation& location : locations)
      result.locations.push_back(tables.location(location));
    if (result.locations.empty())
      result.locations.push_back(
          tables.note(sample.note.empty() ? "[goheapd: stack unknown]" : std::string(sample.note)));
    if (!pcs.empty()) {
      const auto last = symbolizer.frame_of(pcs.back());
      if (last && last->source.function == "runtime.goexit") result.stack_end = sample.stack->back();
    }
    if (sample.shares_class) result.labels.emplace_back("size_class", "shared");
    result.recorded = sample.published;
    result.scaled = unsampled(sample.published, rate);
    result.object_bytes = static_cast<int64_t>(sample.object_bytes);
    snapshot->samples.push_back(std::move(result));
  };
  const uint64_t rate = raw.is_scaled ? 1 : raw.sample_rate;
  for (const RawSample& sample : raw.samples) add(sample, raw.logical_stacks, rate);
  for (const RawSample& sample : raw.counted) add(sample, false, 1);
  return snapshot;
}

NamedSite site_of_logical_stack(const gobin::GoBinary& binary, uint64_t load_bias,
                                std::span<const uint64_t> stack) {
  const std::vector<uint64_t> pcs = without_bias(stack, load_bias);
  const gobin::Symbolizer& symbolizer = binary.symbolizer();
  return named_site(symbolizer, pcs, symbolizer.locations_of_logical_stack(pcs, gobin::RuntimeFrames::keep));
}

NamedSite site_of_return_addresses(const gobin::GoBinary& binary, uint64_t load_bias,
                                   std::span<const uint64_t> stack) {
  const std::vector<uint64_t> pcs = without_bias(stack, load_bias);
  const gobin::Symbolizer& symbolizer = binary.symbolizer();
  return named_site(symbolizer, pcs,
                    symbolizer.locations_of_return_addresses(pcs, false, gobin::RuntimeFrames::keep));
}

}  // namespace goheapd::profile

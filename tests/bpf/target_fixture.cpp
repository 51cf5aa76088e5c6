#include "tests/bpf/target_fixture.h"

#include <algorithm>
#include <stdexcept>

#include "daemon/gobin/go_binary.h"

namespace goheapd::testing {
probe::Collector make_collector(Received& received, const probe::CollectorOptions& options) {
  auto collector = probe::Collector::create(
      options, {.event = [&received](model::Event&& event) { received.events.push_back(std::move(event)); },
                .stack =
                    [&received](model::ExactStack&& stack) {
                      ++received.stack_events;
                      received.stacks[stack.stack_hash] = std::move(stack);
                    }});
  if (!collector) throw std::runtime_error(to_string(collector.error()));
  return std::move(*collector);
}

probe::AttachRequest request_for(const GoProgram& program, Watch watch) {
  const std::string exe = "/proc/" + std::to_string(program.pid()) + "/exe";
  const auto file = OpenFile::open(exe);
  if (!file) throw std::runtime_error(to_string(file.error()));
  const auto binary = gobin::GoBinary::open(**file);
  if (!binary) throw std::runtime_error(to_string(binary.error()));
  const gobin::ProbeSites& sites = (*binary)->probe_sites();
  const auto& points = watch == Watch::exact   ? sites.exact()
                       : watch == Watch::spans ? sites.spans()
                                               : sites.sampled();
  if (!points) throw std::runtime_error(to_string(points.error()));
  const auto heap = (*binary)->global("runtime.mheap_");
  if (!heap) throw std::runtime_error(to_string(heap.error()));
  const uint64_t bias = load_bias(program.pid(), (*binary)->load_base());
  return {.process = {.pid = program.pid()},
          .program = {exe, *file},
          .load_bias = bias,
          .layout = probe::target_layout((*binary)->layout()),
          .stack_roots = probe::stack_roots(**binary, bias),
          .points = *points,
          .sweepgen_address = *heap + bias + (*binary)->layout().mheap.sweepgen.offset};
}

gobin::SiteCandidate find_bytes(const GoProgram& program, std::initializer_list<unsigned char> bytes) {
  const auto binary = gobin::GoBinary::open("/proc/" + std::to_string(program.pid()) + "/exe");
  if (!binary) throw std::runtime_error(to_string(binary.error()));
  const uint64_t text = (*binary)->module_data().text;
  const auto code = (*binary)->elf().bytes_from(text);
  const auto* const begin = reinterpret_cast<const unsigned char*>(code->data());
  const auto* const found = std::search(begin, begin + code->size(), bytes.begin(), bytes.end());
  const uint64_t vaddr = text + static_cast<uint64_t>(found - begin);
  gobin::SiteCandidate site;
  site.vaddr = vaddr;
  site.file_offset = *(*binary)->elf().file_offset(vaddr);
  std::copy(bytes.begin(), bytes.end(), site.bytes.begin());
  site.size = static_cast<uint8_t>(bytes.size());
  return site;
}

void drain(probe::Collector& collector) {
  while (collector.poll(std::chrono::milliseconds(0)) > 0) {
  }
}

ExactTotals totals(const std::vector<model::ExactCount>& counts) {
  ExactTotals sum;
  for (const model::ExactCount& count : counts) {
    sum.objects += count.objects;
    sum.slot_bytes += count.slot_bytes;
    if (count.stack_hash == 0) sum.without_stack += count.objects;
  }
  return sum;
}

uint64_t lost(const probe::TargetCounters& counters, std::string_view reason) {
  for (const model::LabelledCount& count : counters.lost)
    if (count.label == reason) return count.count;
  throw std::runtime_error("no such loss: " + std::string(reason));
}

std::string describe_losses(const probe::TargetCounters& counters) {
  std::string text;
  for (const model::LabelledCount& count : counters.lost)
    if (count.count > (count.label == "stack_unreadable" ? 2 : 0))
      text += count.label + "=" + std::to_string(count.count) + " ";
  return text;
}

}  // namespace goheapd::testing

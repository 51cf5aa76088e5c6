#include "tests/bpf/target_fixture.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "daemon/gobin/go_binary.h"
#include "daemon/gobin/runtime_layout.h"
#include "daemon/probe/target_layout.h"

namespace goheapd::testing {
namespace {

// TEMPORARY
std::vector<probe::SiteCandidate> find_sites(const gobin::GoBinary& binary, std::string_view function,
                                             uint64_t bias) {
  const auto code = binary.function(function);
  if (!code) return {};
  const auto byte = [&](uint64_t at) { return code->code.read<uint8_t>(at).value_or(0); };
  for (uint64_t at = 0; at < 32; ++at) {
    if (byte(at) != 0x66 && !(byte(at) == 0x3b && byte(at + 1) == 0x66 && byte(at + 2) == 0x10)) continue;
    uint64_t jump = at + 3;
    uint64_t next = jump + (byte(jump) == 0x76 ? 2 : 6);
    if (byte(jump) != 0x76 && !(byte(jump) == 0x0f && byte(jump + 1) == 0x86)) continue;
    std::vector<probe::SiteCandidate> sites;
    if (byte(next) == 0x55) {
      sites.push_back(
          {*binary.elf().file_offset(code->entry + next), code->entry + next + bias, false, false});
    }
    sites.push_back({*binary.elf().file_offset(code->entry + jump), code->entry + jump + bias, true, false});
    return sites;
  }
  return {};
}

}  // namespace

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
  const auto binary = gobin::GoBinary::open(exe);
  if (!binary) throw std::runtime_error(to_string(binary.error()));
  const auto layout = gobin::runtime_layout((*binary)->info().version, (*binary)->info().arch);
  if (!layout) throw std::runtime_error(to_string(layout.error()));
  const uint64_t bias = load_bias(program.pid(), (*binary)->load_base());
  probe::AttachRequest request;
  request.process.pid = program.pid();
  request.path = exe;
  request.layout = probe::target_layout(*layout);
  const auto add = [&](probe::ProbeRole role, const std::string& function, uint32_t min_size,
                       probe::SitePointers p) {
    auto sites = find_sites(**binary, function, bias);
    if (sites.empty()) return false;
    request.points.push_back({role, function, min_size, p, sites});
    return true;
  };
  if (watch == Watch::exact) {
    bool special = false;
    using P = probe::SitePointers;
    if (layout->minor >= 27) {
      special |= add(probe::ProbeRole::malloc, "runtime.mallocgcTinySC2", 0, P::never);
      for (int i = 2; i <= 7; ++i)
        special |=
            add(probe::ProbeRole::malloc, "runtime.mallocgcSmallNoScanSC" + std::to_string(i), 0, P::never);
      for (int i = 1; i <= 7; ++i)
        special |= add(probe::ProbeRole::malloc, "runtime.mallocgcSmallScanNoHeaderSC" + std::to_string(i), 0,
                       P::always);
    }
    add(probe::ProbeRole::malloc, "runtime.mallocgc", special ? 80 : 0, P::by_type);
  } else {
    using P = probe::SitePointers;
    add(probe::ProbeRole::set_profile_bucket, "runtime.setprofilebucket", 0, P::by_type);
    add(probe::ProbeRole::free_special, "runtime.freeSpecial", 0, P::by_type);
    add(probe::ProbeRole::profile_alloc, "runtime.profilealloc", 0, P::by_type);
    add(probe::ProbeRole::profile_flush, "runtime.mProf_Flush", 0, P::by_type);
    add(probe::ProbeRole::profile_post_sweep, "runtime.mProf_PostSweep", 0, P::by_type);
  }
  return request;
}

probe::SiteCandidate find_bytes(const GoProgram& program, std::initializer_list<unsigned char> bytes) {
  const auto binary = gobin::GoBinary::open("/proc/" + std::to_string(program.pid()) + "/exe");
  if (!binary) throw std::runtime_error(to_string(binary.error()));
  const uint64_t text = (*binary)->module_data().text;
  const auto code = (*binary)->elf().bytes_from(text);
  const auto* const begin = reinterpret_cast<const unsigned char*>(code->data());
  const auto* const found = std::search(begin, begin + code->size(), bytes.begin(), bytes.end());
  const uint64_t vaddr = text + static_cast<uint64_t>(found - begin);
  return {.file_offset = *(*binary)->elf().file_offset(vaddr),
          .address = vaddr + load_bias(program.pid(), (*binary)->load_base())};
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
    if (count.count != 0) text += count.label + "=" + std::to_string(count.count) + " ";
  return text;
}

}  // namespace goheapd::testing

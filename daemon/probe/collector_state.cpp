#include "daemon/probe/collector_state.h"

#include <bpf/bpf.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "daemon/probe/map_walk.h"

namespace goheapd::probe {
namespace {

constexpr int kStopConsuming = -ECANCELED;
// A record in the ring has a header of so many bytes before it, and begins where an address divides by as many.
constexpr size_t kRingUnit = BPF_RINGBUF_HDR_SZ;
}  // namespace

int Collector::State::take_in(ByteView record) {
  ++delivered;
  bytes_to_take -=
      std::min(bytes_to_take, kRingUnit + (record.size() + kRingUnit - 1) / kRingUnit * kRingUnit);
  auto decoded = decode(record);
  if (!decoded) {
    ++decode_errors[static_cast<size_t>(decoded.error())];
  } else {
    const size_t kind = kind_index(*decoded);
    bool stale = false;
    if (decoded->session != 0) {
      // An event of an earlier program of the same pid must not be credited to the present one.
      const pid_t pid = std::visit(
          [](const auto& value) {
            if constexpr (std::is_same_v<std::decay_t<decltype(value)>, model::ExactStack>) {
              return value.pid;
            } else {
              return std::visit([](const auto& event) { return event.pid; }, value);
            }
          },
          decoded->value);
      const auto target = targets.find(pid);
      stale = target == targets.end() || target->second.wire.session != decoded->session;
    }
    if (stale) {
      ++stale_events;
    } else {
      ++kinds[kind];
      if (auto* event = std::get_if<model::Event>(&decoded->value)) {
        sinks.event(std::move(*event));
      } else {
        sinks.stack(std::move(std::get<model::ExactStack>(decoded->value)));
      }
    }
  }
  return bytes_to_take == 0 ? kStopConsuming : 0;
}

wire::WireStatistics Collector::State::statistics_of(uint32_t index) const {
  std::vector<wire::WireStatistics> cpu_values(object.possible_cpus());
  wire::WireStatistics sum{};
  if (bpf_map_lookup_elem(object.statistics(), &index, cpu_values.data()) != 0) return sum;
  for (const wire::WireStatistics& value : cpu_values) {
    sum.hits += value.hits;
    sum.single_step_hits += value.single_step_hits;
    sum.program_ns += value.program_ns;
    for (size_t reason = 0; reason < wire::kLossReasons; ++reason) sum.lost[reason] += value.lost[reason];
  }
  return sum;
}

// Rewrites all of the entry, word by word, but the first one, which never changes: the kernel takes the process out of it
// as soon as that executes another program, whose hits must not be recorded whatever is written here.
Expected<bool> Collector::State::write(const Target& target) const {
  static_assert(offsetof(wire::WireTarget, tgid) == 0 &&
                offsetof(wire::WireTarget, recording) == sizeof(uint64_t));
  const auto entry = object.target_words(target.index);
  const auto words = std::bit_cast<std::array<uint64_t, decltype(entry)::extent>>(target.wire);
  for (size_t i = 1; i < words.size(); ++i) __atomic_store_n(&entry[i], words[i], __ATOMIC_RELAXED);
  if (__atomic_load_n(entry.data(), __ATOMIC_RELAXED) != words.front())
    return fail("the process runs another program by now", std::to_string(target.wire.tgid), ESTALE);
  return true;
}

void Collector::State::clear_statistics(uint32_t index) const {
  const std::vector<wire::WireStatistics> zeros(object.possible_cpus());
  bpf_map_update_elem(object.statistics(), &index, zeros.data(), BPF_ANY);
}

// After the probes are out.
void Collector::State::forget(pid_t pid, Target& target, Sessions& doomed) {
  const auto tgid = static_cast<uint32_t>(pid);
  const uint32_t index = target.index;
  attacher.forget_sites(pid, target.probes.points);
  bpf_map_delete_elem(object.target_of_process(), &tgid);
  const wire::WireTarget empty{};
  bpf_map_update_elem(object.targets(), &index, &empty, BPF_ANY);
  const wire::WireStatistics last = statistics_of(index);
  for (size_t reason = 0; reason < gone_losses.size(); ++reason) gone_losses[reason] += last.lost[reason];
  if (target.has_counts) doomed.counts.insert(target.wire.session);
  if (target.has_runs) doomed.runs.insert(target.wire.session);
  free_indices.push_back(target.index);
}

void Collector::State::forget(pid_t pid, Target& target) {
  Sessions doomed;
  forget(pid, target, doomed);
  forget(doomed);
}

void Collector::State::forget_counts(Target& target) {
  target.has_counts = false;
  forget(Sessions{.counts = {target.wire.session}, .runs = {}});
}

void Collector::State::forget_runs(Target& target) {
  target.has_runs = false;
  forget(Sessions{.counts = {}, .runs = {target.wire.session}});
}

void Collector::State::forget(const Sessions& doomed) {
  if (const auto forgotten = exact.forget(doomed.counts); !forgotten)
    spdlog::warn("exact counts of targets that are gone stay in the kernel: {}",
                 to_string(forgotten.error()));
  const auto caches =
      remove_sessions<wire::WireRunKey>(object.span_caches(), sizeof(wire::WireSpanCache), doomed.runs);
  const auto runs =
      remove_sessions<wire::WireRunKey>(object.open_runs(), sizeof(wire::WireOpenRun), doomed.runs);
  if (!caches || !runs) spdlog::warn("what targets that are gone had under way stays in the kernel");
}

}  // namespace goheapd::probe

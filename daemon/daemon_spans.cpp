// Source spans in the daemon: its readings, and the change between it and the runtime's own sampler. Owner thread.
#include <spdlog/spdlog.h>

#include <memory>
#include <utility>

#include "daemon/base/clock.h"
#include "daemon/daemon.h"
#include "daemon/profile/symbolized_snapshot.h"

namespace goheapd {
namespace {

struct StackName {
  uint64_t stack_hash = 0;
  profile::NamedSite site;
};

// What a worker brings.
struct Brought {
  Expected<profile::SpanReading> reading;
  std::vector<StackName> names;
};

}  // namespace

void Daemon::start_span_reading(Target& target) {
  drain_probes();  // what was born up to now is to be asked about
  SpanSource& spans = *target.spans();
  auto objects = std::make_shared<std::vector<model::TrackedObject>>(spans.start_reading());
  auto unnamed = std::make_shared<std::vector<std::pair<uint64_t, profile::StackPtr>>>(
      spans.ledger().take_unnamed_stacks());
  workers_.post([this, key = target.key(), reader = spans.reader(), objects, unnamed,
                 binary = target.binary(), bias = target.load_bias()] {
    auto brought = std::make_shared<Brought>();
    brought->reading = reader->read(std::move(*objects));
    for (const auto& [hash, stack] : *unnamed)
      brought->names.push_back({hash, profile::site_of_return_addresses(*binary, bias, *stack)});
    mailbox_.post([this, key, reader, brought] {
      Target* read_target = find(key);
      // The target may have changed its source meanwhile, and even come back to this one.
      if (read_target == nullptr || read_target->spans() == nullptr ||
          read_target->spans()->reader() != reader)
        return;
      drain_probes();  // the books need all events up to the reading's end first
      take_storms();   // in which the kernel has stopped counting
      drain_exact(*read_target);
      SpanSource& source = *read_target->spans();
      for (const StackName& name : brought->names)
        source.ledger().name_stack(name.stack_hash, name.site.kind, name.site.function);
      if (brought->reading) {
        read_target->apply(*brought->reading);
        lost_verdicts_ += brought->reading->liveness.lost_verdicts;
        span_deaths_ += source.take_deaths();
        untracked_runs_ += source.ledger().take_untracked_runs();
        return;
      }
      source.reading_failed(kernel_time_ns());
      if (read_target->is_live()) count_failed_reading(*read_target, brought->reading.error());
    });
  });
}

std::shared_future<void> Daemon::refresh_spans(Target& target) {
  std::shared_future<void> end = target.spans()->next_reading_end();
  if (!target.spans()->reading_in_flight()) start_span_reading(target);
  return end;
}

bool Daemon::has_wrong_source(const Target& target) const {
  if (!target.is_live() || target.asked_mode() == model::Mode::buckets) return false;
  const auto rate = target.spans() != nullptr ? target.spans()->reader()->sample_rate()
                    : target.reads_records()  ? target.reader()->sample_rate()
                                              : fail("no source that could be wrong");
  return rate && (*rate == 0) != (target.spans() != nullptr);
}

// A program may switch its sampler on or off at any time, also while its allocations are counted beside it.
void Daemon::follow_sources() {
  for (auto& [key, target] : targets_) {
    if (has_wrong_source(*target)) change_source(*target);
  }
}

void Daemon::change_source(Target& target) {
  const bool is_on = target.spans() != nullptr;
  spdlog::info("pid {}: the program has switched its runtime's sampler {}", target.pid(),
               is_on ? "on" : "off");
  detach(target);
  target.set_state(model::TargetState::ignored, "its runtime's sampler was switched on or off just now");
  open_later(target.key(), 0);
}

}  // namespace goheapd

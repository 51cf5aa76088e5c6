// What the daemon reads of a target that has a runtime sampler or counts exactly: asked for here, in the owner thread; read
// in a worker; taken over in the owner thread again, once all events up to the reading's end are in the books.
#include <spdlog/spdlog.h>

#include <utility>

#include "daemon/base/clock.h"
#include "daemon/daemon.h"
#include "daemon/profile/symbolized_snapshot.h"

namespace goheapd {

void Daemon::start_reading(Target& target) {
  if (target.spans() != nullptr) {
    start_span_reading(target);
    return;
  }
  target.reading_started();
  workers_.post([this, key = target.key(), reader = target.reader()] {
    auto reading = std::make_shared<Expected<TargetReading>>(reader->read());
    mailbox_.post([this, key, reader, reading] {
      Target* read_target = find(key);
      if (read_target == nullptr || !read_target->is_live() || read_target->reader() != reader) return;
      if (!*reading) {
        read_target->reading_failed(kernel_time_ns());
        count_failed_reading(*read_target, reading->error());
        return;
      }
      drain_probes();  // the books need all events up to the reading's end first
      limit_runtime_sampling(*read_target, **reading);
      take_over(*read_target, std::move(**reading));
    });
  });
}

void Daemon::take_over(Target& target, TargetReading reading) {
  target.apply(std::move(reading));
  lost_pauses_ += target.take_lost_pauses();
}

// A process that has ended meanwhile has no memory to read; its exit, which will be told, says all there is to say.
void Daemon::count_failed_reading(const Target& target, const Error& error) {
  const auto exe = proc_.exe(target.pid());
  if (!exe && process::is_gone(exe.error())) return;
  ++failed_readings_;
  spdlog::debug("pid {}: cannot read the runtime's records: {}", target.pid(), to_string(error));
}

void Daemon::drain_exact(Target& target) { drain_exact(std::vector{&target}); }

void Daemon::drain_exact(const std::vector<Target*>& targets) {
  std::vector<Target*> exact;
  std::vector<pid_t> pids;
  for (Target* target : targets) {
    if (!target->is_exact() || !target->is_live()) continue;
    exact.push_back(target);
    pids.push_back(target->pid());
  }
  if (exact.empty()) return;
  drain_probes();
  auto counts = collector_->read_exact(pids);
  if (!counts) {
    ++unread_counts_;
    spdlog::warn("cannot read the kernel's counts: {}", to_string(counts.error()));
    return;
  }
  drain_probes();  // stacks that the counts just read refer to
  for (size_t i = 0; i < exact.size(); ++i) {
    Target& target = *exact[i];
    for (auto& [hash, stack] : target.take_unnamed_stacks()) {
      const profile::NamedSite site =
          profile::site_of_return_addresses(*target.binary(), target.load_bias(), *stack);
      target.name_stack(hash, site.kind, site.function);
    }
    target.apply(std::move((*counts)[i]));
  }
}

}  // namespace goheapd

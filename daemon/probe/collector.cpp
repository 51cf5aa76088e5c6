#include "daemon/probe/collector.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <iterator>
#include <map>
#include <system_error>
#include <thread>
#include <utility>

#include "daemon/base/clock.h"
#include "daemon/probe/collector_state.h"
#include "daemon/probe/host_support.h"

namespace goheapd::probe {
namespace {

// A window whose end is long past: its probes are put in, and nothing is counted.
constexpr uint64_t kNoWindowYet = 1;

// Names of wire::WireLoss, in its order; label values of goheapd_lost_events_total.
constexpr std::array<std::string_view, wire::kLossReasons> kLossNames = {
    "ring_full",        "stack_ring_full",   "counts_full", "stacks_full",    "scratch_busy",
    "stack_unreadable", "memory_unreadable", "no_target",   "span_state_full"};
constexpr std::string_view kStaleSession = "stale_session";

// Each close waits some 30 ms for the kernel; side by side they wait together.
void close_links(std::vector<ProbeLink> links) {
  constexpr size_t kMostThreads = 64;
  std::atomic<size_t> next = 0;
  const auto close_some = [&links, &next] {
    for (size_t i = next++; i < links.size(); i = next++) links[i] = ProbeLink();
  };
  std::vector<std::jthread> closers;
  try {
    while (closers.size() + 1 < std::min(kMostThreads, links.size())) closers.emplace_back(close_some);
  } catch (const std::system_error&) {
    // No more threads to be had, by the limit of a cgroup: those that are there do it.
  }
  close_some();
}

void take_links(AttachedProbes& probes, std::vector<ProbeLink>& links) {
  for (auto& link : probes.links) {
    if (link) links.push_back(std::move(*link));
    link.reset();
  }
}

}  // namespace

Collector::Collector(std::unique_ptr<State> state) : state_(std::move(state)) {}
Collector::Collector(Collector&&) noexcept = default;
Collector& Collector::operator=(Collector&&) noexcept = default;
Collector::~Collector() {
  if (state_) detach_all();
}

Expected<Collector> Collector::create(const CollectorOptions& options, Sinks sinks) {
  if (options.sizes.targets == 0 || options.sizes.targets >= 0xffff)
    return fail("the number of targets must be between 1 and 65534");
  const HostSupport host = inspect_host(options.methods);
  if (!host.initial_pid_namespace)
    return fail(
        "goheapd must run in the host's pid namespace (hostPID: true, or --pid=host), since the kernel "
        "reports "
        "processes by their pids there");
  if (!host.bpf_syscall)
    return fail("cannot load a BPF program: " + explain_load_error(host.bpf_errno, host), {}, host.bpf_errno);
  if (!host.method)
    return fail(
        "no way to attach probes: uprobe_multi (Linux 6.6) is refused, and so are perf probes, which need "
        "CAP_SYS_ADMIN",
        {}, host.uprobe_multi_errno);

  auto object = BpfObject::load(options.sizes, *host.method, gobin::kSizeClassBytes);
  if (!object) {
    const int error = object.error().errno_value;
    return fail("cannot load the BPF programs: " + explain_load_error(error, host), object.error().subject,
                error);
  }
  if (const auto watching = object->watch_processes(); !watching) return tl::unexpected(watching.error());

  Attacher::Environment environment{.method = *host.method,
                                    .kernel_filters_pid = true,
                                    .tracefs = host.tracefs.value_or(""),
                                    .sampled_program = object->sampled_program(),
                                    .exact_program = object->exact_program(),
                                    .spans_program = object->spans_program(),
                                    .sites_map = object->sites()};
  if (*host.method == AttachMethod::uprobe_multi) {
    const auto covers = pid_filter_covers_threads(*object);
    if (!covers) return tl::unexpected(covers.error());
    environment.kernel_filters_pid = *covers;
  } else if (*host.method == AttachMethod::tracefs_event) {
    remove_stale_tracefs_events(*host.tracefs);
  }
  spdlog::info("probes attach by {} on Linux {}, libbpf {}", name_of(*host.method), host.kernel_release,
               host.libbpf_version);

  auto state = std::make_unique<State>(std::move(*object), Attacher(std::move(environment)));
  state->method = *host.method;
  state->sinks = std::move(sinks);
  for (uint32_t index = state->object.target_capacity() - 1; index > wire::kNoTargetIndex; --index)
    state->free_indices.push_back(static_cast<uint16_t>(index));
  state->ring.reset(ring_buffer__new(state->object.events(), State::on_record, state.get(), nullptr));
  if (!state->ring) return fail("cannot map the event ring", {}, errno);
  return Collector(std::move(state));
}

Expected<AttachReport> Collector::attach(const AttachRequest& request) {
  const uint64_t begin = kernel_time_ns();
  const pid_t pid = request.process.pid;
  if (state_->targets.contains(pid)) return fail("the process is already attached", std::to_string(pid));
  if (state_->free_indices.empty()) return fail("as many processes are attached as there is room for");

  State::Target target;
  target.index = state_->free_indices.back();
  target.wire = wire_target(request, state_->next_session++);
  if (const auto told = set_spans(target.wire, request); !told) return tl::unexpected(told.error());
  const uint32_t index = target.index;
  const auto tgid = static_cast<uint32_t>(pid);
  state_->clear_statistics(index);
  if (bpf_map_update_elem(state_->object.targets(), &index, &target.wire, BPF_ANY) != 0 ||
      bpf_map_update_elem(state_->object.target_of_process(), &tgid, &index, BPF_ANY) != 0)
    return fail("cannot tell the kernel about a target", request.program.path, errno);
  state_->free_indices.pop_back();
  if (wants(request, ProbeGroup::exact)) {
    if (const auto added = state_->exact.add_last_resort(target.wire.session); !added) {
      state_->forget(pid, target);
      return tl::unexpected(added.error());
    }
    target.has_counts = true;
  }
  target.has_runs = wants(request, ProbeGroup::spans);
  auto probes = state_->attacher.attach(request, target.index);
  if (!probes) {
    state_->forget(pid, target);
    return tl::unexpected(probes.error());
  }
  target.probes = std::move(*probes);
  AttachReport report{target.probes.points, std::chrono::nanoseconds(kernel_time_ns() - begin)};
  state_->targets.emplace(pid, std::move(target));
  return report;
}

Expected<AttachReport> Collector::add(const AttachRequest& request) {
  const uint64_t begin = kernel_time_ns();
  const pid_t pid = request.process.pid;
  const auto found = state_->targets.find(pid);
  if (found == state_->targets.end()) return fail("the process is not attached", std::to_string(pid));
  State::Target& target = found->second;
  for (const gobin::ProbePoint& point : request.points) {
    if (target.probes.has(group_of(point.role)))
      return fail("such probes are already attached", point.function);
  }
  if (wants(request, ProbeGroup::exact)) {
    if (const auto added = state_->exact.add_last_resort(target.wire.session); !added)
      return tl::unexpected(added.error());
    target.has_counts = true;
    set_ignored_caller(target.wire, request);
    target.wire.window_end_ns = request.for_window ? kNoWindowYet : 0;
    if (const auto told = state_->write(target); !told) return tl::unexpected(told.error());
  }
  if (wants(request, ProbeGroup::spans)) {
    if (const auto told = set_spans(target.wire, request); !told) return tl::unexpected(told.error());
    target.has_runs = true;
    if (const auto told = state_->write(target); !told) return tl::unexpected(told.error());
  }
  auto probes = state_->attacher.attach(request, target.index);
  if (!probes) {
    if (wants(request, ProbeGroup::exact)) {
      state_->forget_counts(target);
      target.wire.window_end_ns = 0;
      if (const auto told = state_->write(target); !told) return tl::unexpected(told.error());
    }
    return tl::unexpected(probes.error());
  }
  AttachReport report{probes->points, std::chrono::nanoseconds(kernel_time_ns() - begin)};
  for (size_t group = 0; group < kProbeGroups; ++group) {
    if (probes->links[group]) target.probes.links[group] = std::move(probes->links[group]);
  }
  std::move(probes->points.begin(), probes->points.end(), std::back_inserter(target.probes.points));
  return report;
}

void Collector::remove(pid_t pid, ProbeGroup group) {
  const auto found = state_->targets.find(pid);
  if (found == state_->targets.end()) return;
  State::Target& target = found->second;
  target.probes.links[static_cast<size_t>(group)].reset();
  std::vector<AttachedPoint> removed;
  std::erase_if(target.probes.points, [&](const AttachedPoint& point) {
    if (group_of(point.role) != group) return false;
    removed.push_back(point);
    return true;
  });
  state_->attacher.forget_sites(pid, removed);
  if (group == ProbeGroup::exact && target.has_counts) state_->forget_counts(target);
  if (group == ProbeGroup::exact && target.wire.window_end_ns != 0) {
    target.wire.window_end_ns = 0;
    if (const auto told = state_->write(target); !told)
      spdlog::warn("pid {}: {}", pid, to_string(told.error()));
  }
  // Who releases by caches hears of it in the group gc. By spans nothing is heard any more, and the span may come back.
  const bool cuts = target.wire.releases_by_span != 0 ? group == ProbeGroup::spans : group == ProbeGroup::gc;
  if (cuts && target.has_runs) state_->forget_runs(target);
}

void Collector::detach(pid_t pid) { detach(std::span(&pid, 1)); }

void Collector::detach(std::span<const pid_t> pids) {
  std::vector<ProbeLink> links;
  for (const pid_t pid : pids) {
    if (const auto found = state_->targets.find(pid); found != state_->targets.end())
      take_links(found->second.probes, links);
  }
  close_links(std::move(links));
  State::Sessions doomed;
  for (const pid_t pid : pids) {
    const auto found = state_->targets.find(pid);
    if (found == state_->targets.end()) continue;
    state_->forget(pid, found->second, doomed);
    state_->targets.erase(found);
  }
  state_->forget(doomed);
}

// What the maps hold of targets goes with the maps. What hits meanwhile are told to record, nobody will read.
void Collector::detach_all() {
  std::vector<ProbeLink> links;
  for (auto& [pid, target] : state_->targets) {
    target.wire.recording = 0;
    static_cast<void>(state_->write(target));  // another program by now records nothing
    take_links(target.probes, links);
  }
  close_links(std::move(links));
  state_->targets.clear();
}

Expected<bool> Collector::set_recording(pid_t pid, ProbeGroups groups) {
  const auto found = state_->targets.find(pid);
  if (found == state_->targets.end()) return fail("the process is not attached", std::to_string(pid));
  found->second.wire.recording = wire_groups(groups);
  return state_->write(found->second);
}

Expected<bool> Collector::record_window(pid_t pid, ProbeGroups groups, std::chrono::nanoseconds duration) {
  const auto found = state_->targets.find(pid);
  if (found == state_->targets.end()) return fail("the process is not attached", std::to_string(pid));
  found->second.wire.recording = wire_groups(groups);
  found->second.wire.window_end_ns = kernel_time_ns() + static_cast<uint64_t>(duration.count());
  return state_->write(found->second);
}

Expected<bool> Collector::set_mean_distance(pid_t pid, uint64_t bytes) {
  const auto found = state_->targets.find(pid);
  if (found == state_->targets.end()) return fail("the process is not attached", std::to_string(pid));
  found->second.wire.mean_distance = bytes;
  return state_->write(found->second);
}

Expected<bool> Collector::set_storm_limit(pid_t pid, uint64_t storm_ns) {
  const auto found = state_->targets.find(pid);
  if (found == state_->targets.end()) return fail("the process is not attached", std::to_string(pid));
  found->second.wire.storm_ns = storm_ns;
  return state_->write(found->second);
}

bool Collector::records_as_told(pid_t pid) const {
  const auto found = state_->targets.find(pid);
  if (found == state_->targets.end()) return true;
  const uint32_t index = found->second.index;
  wire::WireTarget now{};
  return bpf_map_lookup_elem(state_->object.targets(), &index, &now) != 0 ||
         now.recording == found->second.wire.recording;
}

size_t Collector::poll(std::chrono::milliseconds timeout) {
  state_->delivered = 0;
  epoll_event ready{};
  if (timeout.count() > 0) ::epoll_wait(poll_fd(), &ready, 1, static_cast<int>(timeout.count()));
  // Whether woken or not: programs do not wake us for every event.
  state_->bytes_to_take = ring__avail_data_size(ring_buffer__ring(state_->ring.get(), 0));
  if (state_->bytes_to_take == 0) return 0;
  ring_buffer__consume(state_->ring.get());
  return state_->delivered;
}

int Collector::poll_fd() const { return ring_buffer__epoll_fd(state_->ring.get()); }

Expected<std::vector<model::ExactCount>> Collector::read_exact(pid_t pid) {
  auto counts = read_exact(std::span(&pid, 1));
  if (!counts) return tl::unexpected(counts.error());
  return std::move(counts->front());
}

Expected<std::vector<std::vector<model::ExactCount>>> Collector::read_exact(std::span<const pid_t> pids) {
  std::unordered_map<uint32_t, size_t> places;  // by session
  for (size_t i = 0; i < pids.size(); ++i) {
    const auto found = state_->targets.find(pids[i]);
    if (found == state_->targets.end()) return fail("the process is not attached", std::to_string(pids[i]));
    places.emplace(found->second.wire.session, i);
  }
  std::vector<std::vector<model::ExactCount>> counts(pids.size());
  const auto read = state_->exact.for_each([&](const ExactEntry& entry) {
    const auto place = places.find(entry.key.session);
    if (place == places.end() || entry.objects == 0) return;
    if (entry.key.size_class < gobin::kSizeClassBytes.size())
      counts[place->second].push_back(
          to_model(entry, pids[place->second], gobin::kSizeClassBytes[entry.key.size_class]));
  });
  if (!read) return tl::unexpected(read.error());
  return counts;
}

Expected<TargetCounters> Collector::counters(pid_t pid) const {
  const auto found = state_->targets.find(pid);
  if (found == state_->targets.end()) return fail("the process is not attached", std::to_string(pid));
  const wire::WireStatistics statistics = state_->statistics_of(found->second.index);
  TargetCounters counters{statistics.hits, statistics.single_step_hits, statistics.program_ns, {}};
  for (size_t reason = 0; reason < kLossNames.size(); ++reason)
    counters.lost.push_back({std::string(kLossNames[reason]), statistics.lost[reason]});
  return counters;
}

std::vector<model::LabelledCount> Collector::lost_events() const {
  State::Losses sum = state_->gone_losses;
  const auto add = [&](uint32_t index) {
    const wire::WireStatistics statistics = state_->statistics_of(index);
    for (size_t reason = 0; reason < sum.size(); ++reason) sum[reason] += statistics.lost[reason];
  };
  add(wire::kNoTargetIndex);
  for (const auto& [pid, target] : state_->targets) add(target.index);
  std::vector<model::LabelledCount> lost;
  for (size_t reason = 0; reason < sum.size(); ++reason)
    lost.push_back({std::string(kLossNames[reason]), sum[reason]});
  for (size_t error = 0; error < kDecodeErrorNames.size(); ++error)
    lost.push_back({std::string(kDecodeErrorNames[error]), state_->decode_errors[error]});
  lost.push_back({std::string(kStaleSession), state_->stale_events});
  return lost;
}

std::vector<model::LabelledCount> Collector::events() const {
  std::vector<model::LabelledCount> events;
  for (size_t kind = 0; kind < kEventKindNames.size(); ++kind)
    events.push_back({std::string(kEventKindNames[kind]), state_->kinds[kind]});
  return events;
}

AttachMethod Collector::method() const { return state_->method; }

Expected<HitCost> Collector::hit_cost() const { return measure_hit_cost(state_->object); }

}  // namespace goheapd::probe

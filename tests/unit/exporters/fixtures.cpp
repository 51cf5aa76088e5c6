#include "tests/unit/exporters/fixtures.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <random>
#include <thread>

#include "exporters/target_request.h"

namespace goheapd::exporters::fixtures {
namespace {

constexpr int64_t kStart = 1'700'000'000'000'000'000;  // 2023-11-14T22:13:20Z
constexpr int64_t kSecond = 1'000'000'000;

model::TargetStatus target(pid_t pid, const std::string& comm, model::TargetState state) {
  model::TargetStatus t;
  t.process = {pid, 7000 + static_cast<uint64_t>(pid), 0};
  t.comm = comm;
  t.exe = "/usr/bin/" + comm;
  t.go_version = "go1.24.4";
  t.module = "example.com/" + comm;
  t.state = state;
  t.started_wall_ns = kStart;
  return t;
}

}  // namespace

model::HeapSnapshot snapshot() {
  model::HeapSnapshot s;
  s.process = {101, 7101, 0};
  s.comm = "shop";
  s.start_wall_ns = kStart;
  s.end_wall_ns = kStart + 90 * kSecond + 500'000'000;
  s.sample_rate = 524288;
  s.gc_cycle = 12;
  s.mode = "sampled";
  s.source = "runtime";
  s.comments = {"12 events were lost: ring full"};
  s.functions = {
      {"main.fill", "/src/shop/fill.go", 10},
      {"main.Grow[go.shape.int,go.shape.string]", "/src/shop/grow.go", 30},
      {"main.main", "/src/shop/main.go", 5},
      {"runtime.main", "/go/src/runtime/proc.go", 147},
      {"runtime.malg", "/go/src/runtime/proc.go", 5012},
      {"runtime.systemstack", "/go/src/runtime/asm_amd64.s", 479},
      {"main.(*Größe).Add\"<b>", "/src/shop/odd name.go", 0},
      {"runtime.goexit", "/go/src/runtime/asm_amd64.s", 1700},
  };
  s.mappings = {
      {0x400000, 0x800000, 0, "/usr/bin/shop", "5b1e64a3c0ffee"},
      {0x7f0000001000, 0x7f0000005000, 0x1000, "/opt/shop/libshop.so", ""},
  };
  s.locations = {
      {0x401233, 1, {{0, 14}, {1, 33}}, 0x401200},  // main.fill inlined into main.Grow
      {0x402010, 1, {{2, 8}}, 0x402000},
      {0x43ab00, 1, {{3, 250}}, 0x43aa00},
      {0x43cd10, 1, {{4, 5020}}, 0x43cd00},
      {0x46aaaa, 1, {{5, 500}}, 0},
      {0x7f0000002222, 2, {}, 0},  // C code: an address is all we have
      {0x403333, 1, {{6, 99}}, 0x403300},
      {0x46b001, 1, {{7, 1701}}, 0x46b000},
  };
  s.samples = {
      {{0, 1, 2, 7}, {12, 49152, 3, 12288}, {1542, 6316063, 385, 1579015}, 4096, {}},
      {{6, 1, 2, 7},
       {1, 1048576, 1, 1048576},
       {1, 1212696, 1, 1212696},
       1048576,
       {{"job", "im<port"}, {"zone", "a\"b"}}},
      {{3, 4}, {2, 832, 2, 832}, {2521, 1048992, 2521, 1048992}, 416, {}},
      {{5, 1, 2, 7}, {5, 80, 0, 0}, {163842, 2621480, 0, 0}, 16, {}},
      {{6, 2, 7}, {0, 0, 0, 0}, {0, 0, 0, 0}, 64, {}},
  };
  return s;
}

model::HeapSnapshot large_snapshot(size_t stacks, size_t depth) {
  model::HeapSnapshot s = snapshot();
  s.functions.clear();
  s.locations.clear();
  s.samples.clear();
  const size_t functions = 6000;
  const size_t locations = 20000;
  for (size_t i = 0; i < functions; ++i) {
    s.functions.push_back({"example.com/some/module/package" + std::to_string(i % 300) + ".(*Receiver" +
                               std::to_string(i) + ").Method",
                           "/src/example.com/some/module/package" + std::to_string(i % 300) + "/file.go",
                           static_cast<int64_t>(i)});
  }
  for (size_t i = 0; i < locations; ++i) {
    model::Location location{0x401000 + i * 48, 1, {}, 0};
    const size_t lines = i % 4 == 0 ? 2 : 1;
    for (size_t line = 0; line < lines; ++line) {
      location.lines.push_back(
          {static_cast<uint32_t>((i * 7 + line) % functions), static_cast<int64_t>(i % 900)});
    }
    s.locations.push_back(std::move(location));
  }
  // Leaves differ, callers are shared: each stack is an earlier one with its innermost frames replaced.
  std::minstd_rand random(1);  // NOLINT(cert-msc51-cpp): the same every time
  for (size_t i = 0; i < stacks; ++i) {
    model::Sample sample;
    sample.object_bytes = static_cast<int64_t>(16 << (i % 12));
    const size_t fresh = i == 0 ? depth : 1 + random() % 6;
    for (size_t frame = 0; frame < fresh; ++frame) {
      sample.locations.push_back(static_cast<uint32_t>(random() % locations));
    }
    if (i > 0) {
      const auto& caller = s.samples[random() % i].locations;
      sample.locations.insert(sample.locations.end(), caller.begin() + static_cast<long>(fresh),
                              caller.end());
    }
    const auto count = static_cast<int64_t>(1 + random() % 50);
    sample.recorded = {count, sample.object_bytes * count, count / 2, sample.object_bytes * (count / 2)};
    sample.scaled = {count * 1000, sample.object_bytes * count * 1000, count / 2 * 1000,
                     sample.object_bytes * (count / 2) * 1000};
    s.samples.push_back(std::move(sample));
  }
  return s;
}

model::GcCycle gc_cycle(uint32_t number) {
  constexpr int64_t kBegin = 1'000'000'000'000;
  model::GcCycle cycle;
  cycle.number = number;
  cycle.forced = number % 2 == 0;
  cycle.printed_as_forced = cycle.forced;
  cycle.program_start_ns = kBegin;
  cycle.start_ns = kBegin + number * int64_t{250'000'000};
  cycle.mark_ns = cycle.start_ns + 35'400;
  cycle.mark_end_ns = cycle.mark_ns + 1'234'567;
  cycle.end_ns = cycle.mark_end_ns + 4'700;
  cycle.pause_ns = 40'100;
  cycle.stop_procs = 2;
  cycle.max_procs = 4;
  cycle.cpu_fraction = 0.0375;
  cycle.assist_ns = 150'000;
  cycle.dedicated_ns = 20'300'000;
  cycle.fractional_ns = 700;
  cycle.idle_ns = 500;
  cycle.heap_before = 7'340'032;
  cycle.heap_at_mark_end = 8'912'896;
  cycle.heap_marked = 3'145'728;
  cycle.heap_live = 3'200'000;
  cycle.heap_in_use = 9'437'184;
  cycle.goal = 8'388'608;
  cycle.next_goal = 6'291'456;
  cycle.next_trigger = 5'242'880;
  cycle.stack_bytes = 262'144;
  cycle.global_bytes = 1'048'576;
  cycle.gc_percent = 100;
  cycle.memory_limit = INT64_MAX;
  return cycle;
}

SourceResult<model::GcLog> FixedSource::gc_log(pid_t pid) {
  if (auto profile = heap(pid); !profile) return tl::unexpected(profile.error());
  return model::GcLog{{gc_cycle(11), gc_cycle(12)},
                      {{1'000'000'000, 1'000'250'000, "read mem stats"}},
                      {{"GC mark termination", true, 12, 0.003}, {"read mem stats", false, 1, 0.00025}}};
}

std::vector<model::TargetStatus> FixedSource::targets() {
  using model::TargetState;
  auto shop = target(101, "sh\"op\\\n\xff", TargetState::attached);
  shop.exe = "/usr/bin/<script>alert('x')</script>";
  shop.stripped = true;
  shop.mode = model::Mode::sampled;
  shop.source = "runtime";
  shop.attached_wall_ns = kStart + 2 * kSecond;
  shop.namespace_name = "default";
  shop.pod = "shop-6d4f";
  shop.container = "app";
  shop.container_id = std::string(64, 'c');
  model::Pod pod;
  pod.uid = "ff49d0be-16b7-4a49-bb9e-8ec1f1f4e27f";
  pod.namespace_name = shop.namespace_name;
  pod.name = shop.pod;
  pod.node = "node-1";
  pod.controller = {"ReplicaSet", "shop-6d4f"};
  pod.workload = {"Deployment", "shop"};
  pod.labels = {{"app.kubernetes.io/name", "shop"}, {"odd", "a\"b\xff"}};
  pod.annotations = {{"goheapd.io/mode", "sampled"}};
  shop.pod_facts = std::make_shared<const model::Pod>(std::move(pod));
  shop.sample_rate = 524288;
  shop.level = "slices";
  shop.sampled_share = 0.0625;
  shop.samples = 1234;
  shop.probe_hits = 2345;
  shop.probe_cpu_ns = 1'500'000;
  shop.alloc_bytes_per_second = 1048576.5;
  shop.overhead_ratio = 0.0025;
  shop.overhead_limit = 0.02;
  shop.alloc_bytes[static_cast<size_t>(model::AllocationKind::slice)] = 4096;
  shop.alloc_objects[static_cast<size_t>(model::AllocationKind::slice)] = 3;
  shop.live_bytes = 123456789;
  shop.live_objects = 4321;
  shop.has_live = true;
  shop.settled_objects = 2;
  shop.gc_cycles = 12;
  shop.gc_pause_buckets = {0, 1, 3, 9, 12, 20, 22, 24, 24, 24, 24, 24, 24};
  shop.gc_pause_sum_seconds = 0.00225;
  shop.stops = {{"GC mark termination", true, 12, 0.003}, {"read mem stats", false, 1, 0.00025}};
  shop.gc_totals = {.seen = 10, .missed = 2, .cpu_seconds = {0.25, 1.5, 0.125, 0.5, 0.00225}};
  shop.last_gc = gc_cycle(12);
  shop.top_sites = {{"main.fill", 1000, 3000},
                    {"main.(*G\xc3\xb6\xc3\x9f"
                     "e).Add",
                     500, 600},
                    {"other", 10, 20},
                    {std::string(300, 'x') + "1", 1, 1},
                    {std::string(300, 'x') + "2", 2, 2}};

  auto counter = target(102, "counter", TargetState::attached);
  counter.mode = model::Mode::exact;
  counter.level = "exact";
  counter.overhead_limit = 0.01;
  if (counter_without_probes) counter.mode = model::Mode::buckets;
  if (counter_has_collected) counter.last_gc = gc_cycle(3);
  counter.pie = true;
  counter.attached_wall_ns = kStart + kSecond;

  auto tool = target(106, "tool", TargetState::attached);
  tool.source = "spans";
  tool.level = "gc";
  tool.sampled_share = 0;
  tool.sample_rate = 131072;
  tool.has_live = true;
  tool.verdicts = {31, 402, false};
  tool.attached_wall_ns = kStart + kSecond;

  auto old = target(103, "old", TargetState::unsupported);
  old.go_version = "go1.12.17";
  old.reason = "Go 1.12 is older than 1.19, the oldest that goheapd knows";

  auto ended = target(104, "ended", TargetState::exited);
  ended.exited_wall_ns = kStart + 60 * kSecond;
  ended.level = "slices";
  ended.sampled_share = 0.25;
  if (earlier_life_of_shop) {
    auto earlier = target(101, "earlier", TargetState::exited);
    earlier.process.start_time -= 100;
    return {earlier, shop, counter, tool, old, ended};
  }
  return {shop, counter, tool, old, ended};
}

model::DaemonHealth FixedSource::health() const {
  return {.loop_age_seconds = 0.0625, .unhealthy = unhealthy, .not_ready = unhealthy ? unhealthy : not_ready};
}

model::DaemonStatus FixedSource::status() {
  model::DaemonStatus status;
  status.version = "0.1.0";
  status.libbpf_version = "1.4.6";
  status.events = {{"sampled_birth", 100}, {"sampled_death", 80}, {"span_death", 7}};
  status.lost_events = {{"ring_full", 0}, {"stack_table_full", 7}};
  status.refused_samplers = {{"address", 0}, {"journal", 1}};
  status.kubernetes = {110, 2, true, 3, 41, {{"connection", 5}, {"denied", 0}}};
  status.overhead_budget_ratio = 0.01;
  status.denied_processes = 3;
  status.why_denied = "CAP_SYS_PTRACE is missing: grant it";
  status.config_loaded = false;
  status.config_loaded_wall_ns = 1'795'000'000'500'000'000;
  return status;
}

SourceResult<model::HeapSnapshotPtr> FixedSource::heap(pid_t pid) {
  auto refuse = [](Refusal refusal, std::string message) {
    return tl::unexpected<SourceError>(SourceError{refusal, std::move(message)});
  };
  if (pid == 103) return refuse(Refusal::unsupported_target, "Go 1.12 is older than 1.19");
  if (pid == 105) return refuse(Refusal::gone_target, "the process exited more than 10 minutes ago");
  if (pid < 101 || pid > 106) return tl::unexpected(unknown_target(pid));
  auto s = snapshot();
  s.process.pid = pid;
  if (pid == 102) {
    s.mode = "exact";
    s.source.clear();
    s.has_inuse = false;
    s.sample_rate = 1;
  }
  return std::make_shared<const model::HeapSnapshot>(std::move(s));
}

SourceResult<model::ProgramStatistics> FixedSource::statistics(pid_t pid) {
  if (auto profile = heap(pid); !profile) return tl::unexpected(profile.error());
  if (pid == 104) return tl::unexpected(SourceError{Refusal::gone_target, "the process has exited"});
  model::ProgramStatistics statistics;
  statistics.go_version = "go1.24.4";
  model::MemStatsReading& memory = statistics.memory;
  memory.total_alloc = 5'000'000'123;
  memory.mallocs = 70'000'001;
  memory.frees = 69'000'000;
  memory.heap_alloc = 12'345'678;
  memory.heap_sys = 67'108'864;
  memory.heap_idle = 50'000'000;
  memory.heap_inuse = 17'108'864;
  memory.heap_released = 40'000'000;
  memory.stack_inuse = 655'360;
  memory.stack_sys = 655'360;
  memory.mspan_inuse = 160'000;
  memory.mspan_sys = 163'200;
  memory.mcache_inuse = 2'416;
  memory.mcache_sys = 15'704;
  memory.buck_hash_sys = 1'444'000;
  memory.gc_sys = 3'200'000;
  memory.other_sys = 1'000'000;
  memory.sys = 73'600'000;
  memory.next_gc = 24'000'000;
  memory.last_gc_unix_ns = 1'795'000'000'250'000'000;
  memory.pause_total_ns = 1'500'000;
  memory.num_gc = 9;
  memory.num_forced_gc = 1;
  memory.gc_cpu_fraction = 0.0000625;
  memory.pauses_ns = {90'000, 10'000, 20'000, 30'000, 40'000, 50'000, 60'000, 70'000, 80'000};
  memory.gc_percent = pid == 102 ? -1 : 100;
  memory.memory_limit = INT64_MAX;
  memory.max_procs = 2;
  memory.goroutines = 17;
  memory.threads = 9;
  if (pid == 101) {
    statistics.usage = model::ProcessUsage{.cpu_seconds = 12.34,
                                           .virtual_bytes = 1'300'000'000,
                                           .resident_bytes = 60'000'000,
                                           .start_seconds = 1'795'000'000.25,
                                           .open_fds = 11,
                                           .max_fds = 1024,
                                           .max_virtual_bytes = UINT64_MAX};
  }
  return statistics;
}

SourceResult<model::HeapSnapshotPtr> FixedSource::heap_delta(pid_t pid, std::chrono::seconds seconds,
                                                             std::stop_token stop, const MayMake& may_make) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  ++waiting;
  never.wait_for(lock, stop, seconds, [] { return false; });
  --waiting;
  if (stop.stop_requested()) {
    ++cancelled;
    return tl::unexpected<SourceError>(SourceError{Refusal::unavailable, "cancelled"});
  }
  if (!may_make()) return tl::unexpected<SourceError>(SourceError{Refusal::unavailable, "no turn"});
  const int now = ++making_;
  for (int most = most_making; most < now && !most_making.compare_exchange_weak(most, now);) continue;
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // so that others would be seen
  --making_;
  return heap(pid).map([](const model::HeapSnapshotPtr& whole) {
    auto delta = *whole;
    delta.is_delta = true;
    return std::make_shared<const model::HeapSnapshot>(std::move(delta));
  });
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << "cannot read " << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "goheapd-test-XXXXXX").string();
  path_ = ::mkdtemp(pattern.data());
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryDirectory::write(const std::string& name, const std::string& content) const {
  std::ofstream(path(name), std::ios::binary) << content;
  return path(name);
}

}  // namespace goheapd::exporters::fixtures

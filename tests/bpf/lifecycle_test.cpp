// Probes come and go, and so do targets and profilers: nothing may stay behind, and nothing may be counted twice.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "daemon/gobin/go_binary.h"
#include "tests/bpf/target_fixture.h"

namespace goheapd::testing {
namespace {

using std::chrono::milliseconds;

// Bytes in the process at the first candidate of each point.
std::vector<unsigned char> site_bytes(pid_t pid, const probe::AttachRequest& request) {
  std::vector<unsigned char> bytes;
  for (const gobin::ProbePoint& point : request.points) {
    unsigned char byte = 0;
    iovec local{&byte, 1};
    iovec remote{reinterpret_cast<void*>(point.candidates.front().vaddr + request.load_bias), 1};
    EXPECT_EQ(::process_vm_readv(pid, &local, 1, &remote, 1, 0), 1);
    bytes.push_back(byte);
  }
  return bytes;
}

// Calls `done` until it is true, for five seconds.
bool eventually(const std::function<bool()>& done) {
  for (int i = 0; i < 250; ++i) {
    if (done()) return true;
    std::this_thread::sleep_for(milliseconds(20));
  }
  return false;
}

// tracefs is often not mounted. It is the same one everywhere, so a mount in a namespace of our own is enough.
void use_tracefs() {
  ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
  ASSERT_EQ(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  if (std::filesystem::exists("/sys/kernel/tracing/uprobe_events")) return;
  ASSERT_EQ(::mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, nullptr), 0);
}

// In how many bytes the code of a process that is not position independent differs from its file.
size_t code_differences(pid_t pid) {
  const auto binary = gobin::GoBinary::open("/proc/" + std::to_string(pid) + "/exe");
  EXPECT_TRUE(binary);
  const uint64_t text = (*binary)->module_data().text;
  const auto file = *(*binary)->elf().bytes_from(text);
  std::vector<unsigned char> memory(file.size());
  iovec local{memory.data(), memory.size()};
  iovec remote{reinterpret_cast<void*>(text), memory.size()};
  EXPECT_EQ(::process_vm_readv(pid, &local, 1, &remote, 1, 0), static_cast<ssize_t>(memory.size()));
  size_t differences = 0;
  for (size_t i = 0; i < memory.size(); ++i)
    if (memory[i] != std::to_integer<unsigned char>(file.bytes()[i])) ++differences;
  return differences;
}

class Lifecycle : public ::testing::Test {
 protected:
  // One toolchain is enough for what does not depend on Go.
  const std::string path_ = build_go_program("allocator", {.minor = go_minors().back()});
  Received received_;

  // Every allocation of `program` is counted from now on.
  probe::Collector count_with(const probe::CollectorOptions& options, const GoProgram& program) {
    probe::Collector collector = make_collector(received_, options);
    if (const auto attached = collector.attach(request_for(program, Watch::exact)); !attached)
      throw std::runtime_error(to_string(attached.error()));
    if (const auto told = collector.set_recording(program.pid(), probe::ProbeGroups::all()); !told)
      throw std::runtime_error(to_string(told.error()));
    return collector;
  }
};

TEST_F(Lifecycle, DetachRestoresTheCode) {
  GoProgram program(path_);
  const auto request = request_for(program, Watch::exact);
  const auto original = site_bytes(program.pid(), request);
  probe::Collector collector = make_collector(received_);
  for (int round = 0; round < 3; ++round) {
    const auto attached = collector.attach(request);
    ASSERT_TRUE(attached) << to_string(attached.error());
    EXPECT_EQ(attached->points.size(), request.points.size());
    const auto probed = site_bytes(program.pid(), request);
    for (const unsigned char byte : probed) EXPECT_TRUE(byte == 0xcc || byte == 0xe8);
    ASSERT_TRUE(collector.set_recording(program.pid(), probe::ProbeGroups::all()));
    EXPECT_EQ(program.ask("work mixed 100"), "done");
    EXPECT_EQ(collector.attach(request).error().what, "the process is already attached");
    collector.detach(program.pid());
    EXPECT_EQ(site_bytes(program.pid(), request), original);
    EXPECT_FALSE(collector.counters(program.pid()));
  }
  EXPECT_EQ(program.ask("work mixed 100"), "done");
}

TEST_F(Lifecycle, AttachAndDetachAreQuick) {
  GoProgram program(path_);
  const auto request = request_for(program, Watch::exact);
  probe::Collector collector = make_collector(received_);
  double attach_ms = 1e9;
  double detach_ms = 1e9;
  for (int round = 0; round < 5; ++round) {
    const auto attached = collector.attach(request);
    ASSERT_TRUE(attached) << to_string(attached.error());
    attach_ms = std::min(attach_ms, static_cast<double>(attached->duration.count()) / 1e6);
    const auto begin = std::chrono::steady_clock::now();
    collector.detach(program.pid());
    const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - begin;
    detach_ms = std::min(detach_ms, taken.count());
  }
  RecordProperty("attach_ms", std::to_string(attach_ms));
  RecordProperty("detach_ms", std::to_string(detach_ms));
  EXPECT_LT(attach_ms, 100);
  EXPECT_LT(detach_ms, 100);
}

TEST_F(Lifecycle, RecordsOnlyWhileToldTo) {
  GoProgram program(path_);
  probe::Collector collector = make_collector(received_);
  ASSERT_TRUE(collector.attach(request_for(program, Watch::exact)));
  EXPECT_EQ(program.ask("work one 100"), "done");
  EXPECT_EQ(totals(*collector.read_exact(program.pid())).objects, 0u);
  EXPECT_GE(collector.counters(program.pid())->hits, 100u);
  ASSERT_TRUE(collector.set_recording(program.pid(), probe::ProbeGroups::all()));
  EXPECT_EQ(program.ask("work one 100"), "done");
  EXPECT_EQ(totals(*collector.read_exact(program.pid())).objects, 100u);
  ASSERT_TRUE(collector.set_recording(program.pid(), {}));
  EXPECT_EQ(program.ask("work one 100"), "done");
  EXPECT_EQ(totals(*collector.read_exact(program.pid())).objects, 100u);
}

// A new image of the same file, in the same process, gets the probes from the kernel by itself; what it allocates must
// not be added to the old image's counts.
TEST_F(Lifecycle, ExecEndsTheRecordingAndIsReported) {
  GoProgram program(path_);
  probe::Collector collector = make_collector(received_);
  ASSERT_TRUE(collector.attach(request_for(program, Watch::exact)));
  ASSERT_TRUE(collector.set_recording(program.pid(), probe::ProbeGroups::all()));
  EXPECT_EQ(program.ask("work one 50"), "done");
  const uint64_t before = totals(*collector.read_exact(program.pid())).objects;
  EXPECT_EQ(before, 50u);
  EXPECT_EQ(program.ask("exec"), "ready");
  const uint64_t at_exec = totals(*collector.read_exact(program.pid())).objects;
  EXPECT_EQ(program.ask("work one 1000"), "done");
  EXPECT_EQ(totals(*collector.read_exact(program.pid())).objects, at_exec);
  EXPECT_LT(at_exec, before + 50);  // what exec itself allocated
  // Who has not heard of it yet cannot switch the recording on again.
  EXPECT_EQ(collector.set_recording(program.pid(), probe::ProbeGroups::all()).error().errno_value, ESTALE);
  EXPECT_EQ(program.ask("work one 1000"), "done");
  EXPECT_EQ(totals(*collector.read_exact(program.pid())).objects, at_exec);
  drain(collector);
  const auto execs = received_.all<model::ProcessExec>();
  EXPECT_TRUE(
      std::any_of(execs.begin(), execs.end(), [&](const auto& exec) { return exec.pid == program.pid(); }));

  collector.detach(program.pid());
  ASSERT_TRUE(collector.attach(request_for(program, Watch::exact)));
  ASSERT_TRUE(collector.set_recording(program.pid(), probe::ProbeGroups::all()));
  EXPECT_EQ(program.ask("work one 30"), "done");
  EXPECT_EQ(totals(*collector.read_exact(program.pid())).objects, 30u);
}

TEST_F(Lifecycle, ExitIsReportedAndCountsCanStillBeRead) {
  GoProgram program(path_);
  const pid_t pid = program.pid();
  probe::Collector collector = make_collector(received_);
  ASSERT_TRUE(collector.attach(request_for(program, Watch::exact)));
  ASSERT_TRUE(collector.set_recording(pid, probe::ProbeGroups::all()));
  EXPECT_EQ(program.ask("work one 70"), "done");
  program.kill();
  EXPECT_TRUE(eventually([&] {
    collector.poll(milliseconds(10));
    return !received_.all<model::ProcessExit>().empty();
  }));
  EXPECT_EQ(received_.all<model::ProcessExit>().front().pid, pid);
  EXPECT_EQ(totals(*collector.read_exact(pid)).objects, 70u);
  collector.detach(pid);
}

TEST_F(Lifecycle, ProcessThatIsGoneIsAnError) {
  GoProgram program(path_);
  const auto request = request_for(program, Watch::exact);
  program.kill();
  probe::Collector collector = make_collector(received_);
  EXPECT_FALSE(collector.attach(request));
}

TEST_F(Lifecycle, KilledProfilerLeavesNothing) {
  GoProgram program(path_);
  const auto request = request_for(program, Watch::exact);
  const auto original = site_bytes(program.pid(), request);
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t profiler = ::fork();
  if (profiler == 0) {
    try {
      Received received;
      probe::Collector collector = make_collector(received);
      const bool attached = collector.attach(request) &&
                            collector.set_recording(request.process.pid, probe::ProbeGroups::all());
      const char answer = attached ? 'y' : 'n';
      if (::write(ready[1], &answer, 1) != 1) ::_exit(1);
      for (;;) collector.poll(milliseconds(10));
    } catch (const std::exception&) {
      ::_exit(1);  // the child must not go on with the other tests
    }
  }
  ::close(ready[1]);
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  ::close(ready[0]);
  EXPECT_NE(site_bytes(program.pid(), request), original);
  program.tell("work preempt 30000");  // under load
  std::this_thread::sleep_for(milliseconds(50));
  ::kill(profiler, SIGKILL);
  ::waitpid(profiler, nullptr, 0);
  EXPECT_TRUE(eventually([&] { return site_bytes(program.pid(), request) == original; }));
  EXPECT_EQ(program.hear(), "done");
  EXPECT_EQ(program.ask("work mixed 100"), "done");
}

// The kernel refuses to probe an instruction with a lock prefix; the next candidate serves.
TEST_F(Lifecycle, RefusedInstructionsAreReplaced) {
  GoProgram program(path_);
  auto request = request_for(program, Watch::exact);
  const auto locked = find_bytes(program, {0xf0, 0x0f, 0xb1});  // lock cmpxchg
  request.points[1].candidates.insert(request.points[1].candidates.begin(), locked);
  probe::Collector collector = make_collector(received_);
  const auto attached = collector.attach(request);
  ASSERT_TRUE(attached) << to_string(attached.error());
  EXPECT_EQ(attached->points[0].candidate, 0u);
  EXPECT_EQ(attached->points[1].candidate, 1u);
  collector.detach(program.pid());

  request.points[1].candidates = {locked, locked};
  const auto refused = collector.attach(request);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().subject, request.points[1].function);
  // The failure left nothing: the same process can be attached.
  EXPECT_TRUE(collector.attach(request_for(program, Watch::exact)));
}

// The kernel finds the file by its path, the process runs another copy of it: probes that never fire are an error.
TEST_F(Lifecycle, ProbesThatDoNotReachTheProcessAreAnError) {
  const std::string copy = path_ + ".copy";
  std::filesystem::copy_file(path_, copy, std::filesystem::copy_options::overwrite_existing);
  GoProgram program(path_);
  auto request = request_for(program, Watch::exact);
  request.program = {copy, *OpenFile::open(copy)};
  probe::Collector collector = make_collector(received_);
  const auto attached = collector.attach(request);
  ASSERT_FALSE(attached);
  EXPECT_NE(attached.error().what.find("did not reach"), std::string::npos) << to_string(attached.error());
  std::filesystem::remove(copy);
}

TEST_F(Lifecycle, AFileWithOtherCodeIsNotProbed) {
  GoProgram program(path_);
  auto request = request_for(program, Watch::exact);
  gobin::SiteCandidate& site = request.points.back().candidates.front();
  site.bytes[0] = static_cast<uint8_t>(~site.bytes[0]);
  probe::Collector collector = make_collector(received_);
  const auto attached = collector.attach(request);
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().subject, request.points.back().function);
  EXPECT_TRUE(collector.attach(request_for(program, Watch::exact)));
}

// ---- a process that has become another program since it was looked at ----------------------------------------------

class Exec : public ::testing::TestWithParam<probe::AttachMethod> {
 protected:
  void SetUp() override { use_tracefs(); }
  // Neither is position independent: an address of the one is an address in the code of the other.
  const std::string before_ = build_go_program("allocator", {.minor = go_minors().back()});
  const std::string after_ = build_go_program("allocator", {.minor = go_minors().front(), .strip = true});
  Received received_;
};

TEST_P(Exec, TheNewProgramGetsNoProbeOfTheOldOne) {
  GoProgram program(before_);
  const auto request = request_for(program, Watch::exact);
  EXPECT_EQ(program.ask("exec " + after_), "ready");
  const auto untouched = code_differences(program.pid());
  EXPECT_EQ(untouched, 0u);
  probe::CollectorOptions options;
  options.methods = {GetParam()};
  probe::Collector collector = make_collector(received_, options);
  const auto attached = collector.attach(request);
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().errno_value, ESTALE) << to_string(attached.error());
  EXPECT_EQ(code_differences(program.pid()), 0u);
  EXPECT_EQ(program.ask("work mixed 100"), "done");
  // It can be profiled as what it is.
  const auto own = request_for(program, Watch::exact);
  ASSERT_TRUE(collector.attach(own));
  EXPECT_GE(code_differences(program.pid()), own.points.size());
  EXPECT_EQ(program.ask("work mixed 100"), "done");
  collector.detach(program.pid());
  EXPECT_EQ(code_differences(program.pid()), 0u);
}

// Whose path the kernel resolved by itself would be the new program's.
TEST_P(Exec, ProbesThatAreAddedLaterStayOutOfTheNewProgram) {
  GoProgram program(before_);
  probe::CollectorOptions options;
  options.methods = {GetParam()};
  probe::Collector collector = make_collector(received_, options);
  ASSERT_TRUE(collector.attach(request_for(program, Watch::sampled)));
  const auto request = request_for(program, Watch::exact);
  EXPECT_EQ(program.ask("exec " + after_), "ready");
  const auto added = collector.add(request);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().errno_value, ESTALE) << to_string(added.error());
  EXPECT_EQ(code_differences(program.pid()), 0u);
  EXPECT_EQ(program.ask("work mixed 100"), "done");
}

INSTANTIATE_TEST_SUITE_P(All, Exec,
                         ::testing::Values(probe::AttachMethod::uprobe_multi,
                                           probe::AttachMethod::tracefs_event,
                                           probe::AttachMethod::perf_uprobe),
                         [](const auto& parameter) { return std::string(probe::name_of(parameter.param)); });

// ---- what is lost is counted, and what is counted is right --------------------------------------------------------

TEST_F(Lifecycle, FullCountMapKeepsTheTotals) {
  GoProgram program(path_);
  probe::CollectorOptions options;
  options.sizes.exact_entries = 24;
  probe::Collector collector = count_with(options, program);
  const auto before = program.ask_numbers("mallocs");
  EXPECT_EQ(program.ask("work untiny 2000"), "done");
  const auto after = program.ask_numbers("mallocs");
  const ExactTotals sum = totals(*collector.read_exact(program.pid()));
  EXPECT_EQ(sum.objects, after[0] - before[0]);
  EXPECT_EQ(sum.slot_bytes, after[1] - before[1]);
  EXPECT_GT(sum.without_stack, 0u);
  const auto counters = *collector.counters(program.pid());
  EXPECT_EQ(lost(counters, "counts_full"), sum.without_stack);
}

TEST_F(Lifecycle, FullStackMapCostsOnlyThatStacksAreSentAgain) {
  GoProgram program(path_);
  probe::CollectorOptions options;
  options.sizes.stacks = 4;
  probe::Collector collector = count_with(options, program);
  const auto before = program.ask_numbers("mallocs");
  EXPECT_EQ(program.ask("work mixed 1000"), "done");
  const auto after = program.ask_numbers("mallocs");
  drain(collector);
  const auto counts = *collector.read_exact(program.pid());
  EXPECT_EQ(totals(counts).objects, after[0] - before[0]);
  for (const model::ExactCount& count : counts) EXPECT_TRUE(received_.stacks.contains(count.stack_hash));
  EXPECT_GT(received_.stacks.size(), options.sizes.stacks);
  EXPECT_GT(received_.stack_events, received_.stacks.size());
  EXPECT_GT(lost(*collector.counters(program.pid()), "stacks_full"), 0u);
  // As /metrics shows it.
  const auto shown = collector.lost_events();
  EXPECT_TRUE(std::any_of(shown.begin(), shown.end(),
                          [](const auto& row) { return row.label == "stacks_full" && row.count > 0; }));
}

TEST_F(Lifecycle, FullRingLosesNoCountsAndStacksComeLater) {
  GoProgram program(path_);
  probe::CollectorOptions options;
  options.sizes.ring_bytes = 4096;
  probe::Collector collector = count_with(options, program);
  const auto before = program.ask_numbers("mallocs");
  EXPECT_EQ(program.ask("work deep 2"), "done");  // nobody empties the ring meanwhile
  const auto after = program.ask_numbers("mallocs");
  EXPECT_EQ(totals(*collector.read_exact(program.pid())).objects, after[0] - before[0]);
  EXPECT_GT(lost(*collector.counters(program.pid()), "stack_ring_full"), 0u);
  // The same stacks again and again: each time the ring takes a few more.
  size_t missing = 1;
  for (int round = 0; round < 300 && missing != 0; ++round) {
    EXPECT_EQ(program.ask("work deep 1"), "done");
    drain(collector);
    missing = 0;
    const auto counts = *collector.read_exact(program.pid());
    for (const model::ExactCount& count : counts)
      if (count.objects > 1 && !received_.stacks.contains(count.stack_hash)) ++missing;
  }
  EXPECT_EQ(missing, 0u);
  EXPECT_GT(received_.stacks.size(), 100u);
}

// ---- the older ways to attach -------------------------------------------------------------------------------------

class OlderMethods : public ::testing::TestWithParam<probe::AttachMethod> {
 protected:
  void SetUp() override { use_tracefs(); }
  static std::string uprobe_events() {
    std::ifstream file("/sys/kernel/tracing/uprobe_events");
    return {std::istreambuf_iterator<char>(file), {}};
  }
};

TEST_P(OlderMethods, CountExactly) {
  GoProgram program(build_go_program("allocator", {.minor = go_minors().back()}));
  const auto request = request_for(program, Watch::exact);
  const auto original = site_bytes(program.pid(), request);
  Received received;
  {
    probe::CollectorOptions options;
    options.methods = {GetParam()};
    probe::Collector collector = make_collector(received, options);
    EXPECT_EQ(collector.method(), GetParam());
    const auto attached = collector.attach(request);
    ASSERT_TRUE(attached) << to_string(attached.error());
    ASSERT_TRUE(collector.set_recording(program.pid(), probe::ProbeGroups::all()));
    const auto before = program.ask_numbers("mallocs");
    EXPECT_EQ(program.ask("work mixed 500"), "done");
    EXPECT_EQ(program.ask("work grow 100"), "done");
    const auto after = program.ask_numbers("mallocs");
    drain(collector);
    const auto counts = *collector.read_exact(program.pid());
    EXPECT_EQ(totals(counts).objects, after[0] - before[0]);
    for (const model::ExactCount& count : counts) EXPECT_TRUE(received.stacks.contains(count.stack_hash));
    EXPECT_EQ(describe_losses(*collector.counters(program.pid())), "");
    EXPECT_TRUE(collector.hit_cost());
  }
  EXPECT_EQ(site_bytes(program.pid(), request), original);
  EXPECT_EQ(uprobe_events().find("goheapd/"), std::string::npos) << uprobe_events();
}

INSTANTIATE_TEST_SUITE_P(All, OlderMethods,
                         ::testing::Values(probe::AttachMethod::tracefs_event,
                                           probe::AttachMethod::perf_uprobe),
                         [](const auto& parameter) { return std::string(probe::name_of(parameter.param)); });

}  // namespace
}  // namespace goheapd::testing

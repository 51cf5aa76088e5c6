#include "daemon/probe/hit_cost.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <limits>
#include <span>
#include <thread>
#include <vector>

#include "daemon/probe/bpf_object.h"
#include "daemon/probe/uprobe_methods.h"

namespace goheapd::probe {
namespace {

constexpr int kRounds = 7;
constexpr int kCallsInARow = 1000;
constexpr int kCallsBesideWork = 50;
constexpr size_t kWorkingSet = size_t{1} << 20;
constexpr size_t kCacheLine = 64;

double thread_cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// With work on the memory between two calls. The fastest of several rounds: everything that disturbs only adds.
double ns_per_call(void (*function)(), std::vector<unsigned char>& memory) {
  const int calls = memory.empty() ? kCallsInARow : kCallsBesideWork;
  double best = std::numeric_limits<double>::max();
  volatile unsigned char* const bytes = memory.data();
  for (int round = 0; round < kRounds; ++round) {
    const double begin = thread_cpu_ns();
    for (int call = 0; call < calls; ++call) {
      for (size_t i = 0; i < memory.size(); i += kCacheLine) bytes[i] = static_cast<unsigned char>(call);
      function();
    }
    best = std::min(best, (thread_cpu_ns() - begin) / calls);
  }
  return best;
}

// Without cookies every hit counts as cookie 0.
uint64_t hits_of(const BpfObject& object, unsigned cookie) {
  return object.self_test_hits(object.method() == AttachMethod::uprobe_multi ? cookie : 0);
}

Expected<ProbeLink> probe_own(const BpfObject& object, const OwnFunction& function, uint64_t cookie) {
  const ProbePlaces places{"/proc/self/exe", ::getpid(), std::span(&function.file_offset, 1)};
  if (object.method() == AttachMethod::uprobe_multi)
    return link_uprobe_multi(object.self_test_program(), places, std::span(&cookie, 1));
  // A tracefs event costs a hit the same, and would need tracefs.
  return link_perf_uprobes(object.self_test_program(), places);
}

}  // namespace

Expected<HitCost> measure_hit_cost(const BpfObject& object) {
  HitCost cost;
  std::vector<unsigned char> none;
  std::vector<unsigned char> memory(kWorkingSet);
  for (unsigned i = 0; i < kCostClasses; ++i) {
    const auto function = own_function(static_cast<CostClass>(i));
    if (!function) return tl::unexpected(function.error());
    const double row_without = ns_per_call(function->call, none);
    const double work_without = ns_per_call(function->call, memory);
    const auto link = probe_own(object, *function, i);
    if (!link) return tl::unexpected(link.error());
    const uint64_t before = hits_of(object, i);
    const double in_a_row = std::max(0.0, ns_per_call(function->call, none) - row_without);
    const double beside_work = ns_per_call(function->call, memory) - work_without;
    if (hits_of(object, i) - before < kRounds * (kCallsInARow + kCallsBesideWork))
      return fail("a probe in our own process does not fire", std::string(kCostClassNames[i]));
    // The work takes longer than the hit, so on a busy machine the difference can be anything.
    cost.ns[i] = std::clamp(beside_work, in_a_row, 2 * in_a_row);
  }
  return cost;
}

Expected<bool> pid_filter_covers_threads(const BpfObject& object) {
  constexpr unsigned kCookie = 3;
  const auto function = own_function(CostClass::branch);
  if (!function) return tl::unexpected(function.error());
  const auto link = probe_own(object, *function, kCookie);
  if (!link) return tl::unexpected(link.error());
  const uint64_t before = hits_of(object, kCookie);
  std::thread(function->call).join();
  return hits_of(object, kCookie) != before;
}

}  // namespace goheapd::probe

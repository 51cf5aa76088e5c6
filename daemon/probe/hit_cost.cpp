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
constexpr int kCallsPerRound = 50;
constexpr size_t kWorkingSet = size_t{1} << 20;
constexpr size_t kCacheLine = 64;

double thread_cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// With the work between two calls. The fastest of several rounds: everything that disturbs only adds.
double ns_per_call(void (*function)(), std::vector<unsigned char>& memory) {
  double best = std::numeric_limits<double>::max();
  volatile unsigned char* const bytes = memory.data();
  for (int round = 0; round < kRounds; ++round) {
    const double begin = thread_cpu_ns();
    for (int call = 0; call < kCallsPerRound; ++call) {
      for (size_t i = 0; i < memory.size(); i += kCacheLine) bytes[i] = static_cast<unsigned char>(call);
      function();
    }
    best = std::min(best, (thread_cpu_ns() - begin) / kCallsPerRound);
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
  std::vector<unsigned char> memory(kWorkingSet);
  for (unsigned i = 0; i < kCostClasses; ++i) {
    const auto function = own_function(static_cast<CostClass>(i));
    if (!function) return tl::unexpected(function.error());
    const double without = ns_per_call(function->call, memory);
    const auto link = probe_own(object, *function, i);
    if (!link) return tl::unexpected(link.error());
    const uint64_t before = hits_of(object, i);
    const double with = ns_per_call(function->call, memory);
    if (hits_of(object, i) - before < kRounds * kCallsPerRound)
      return fail("a probe in our own process does not fire", std::string(kCostClassNames[i]));
    cost.ns[i] = std::max(0.0, with - without);
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

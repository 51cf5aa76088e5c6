#include "daemon/runtime/runtime_view.h"

#include <array>

namespace goheapd::runtime {
namespace {

struct Variable {
  const char* name;
  uint64_t RuntimeAddresses::*address;
  bool required;
};

constexpr std::array<Variable, 15> kVariables = {{
    {"runtime.mbuckets", &RuntimeAddresses::mbuckets, true},
    {"runtime.mProfCycle", &RuntimeAddresses::mprof_cycle, true},
    {"runtime.MemProfileRate", &RuntimeAddresses::mem_profile_rate, true},
    {"runtime.mheap_", &RuntimeAddresses::mheap, true},
    {"runtime.memstats", &RuntimeAddresses::memstats, true},
    {"runtime.allp", &RuntimeAddresses::allp, true},
    {"runtime.allgptr", &RuntimeAddresses::allgptr, true},
    {"runtime.allglen", &RuntimeAddresses::allglen, true},
    {"runtime.m0", &RuntimeAddresses::m0, false},
    {"runtime.profMemActiveLock", &RuntimeAddresses::prof_mem_active_lock, false},
    {"runtime.gcController", &RuntimeAddresses::gc_controller, false},
    {"runtime.work", &RuntimeAddresses::work, false},
    {"runtime.sched", &RuntimeAddresses::sched, false},
    {"runtime.gomaxprocs", &RuntimeAddresses::gomaxprocs, false},
    {"runtime.runtimeInitTime", &RuntimeAddresses::runtime_init_time, false},
}};

}  // namespace

Expected<RuntimeView> RuntimeView::open(const process::ProcFs& proc, const gobin::GoBinary& binary,
                                        pid_t pid) {
  // Before anything is read, so that verify() covers the mappings too.
  auto memory = process::ProcessMemory::open(pid);
  if (!memory) return Unexpected(memory.error());
  const auto start = proc.program_start(pid);
  if (!start) return Unexpected(start.error());
  const uint64_t bias = *start - binary.load_base();

  RuntimeAddresses addresses;
  for (const Variable& variable : kVariables) {
    const auto vaddr = binary.global(variable.name);
    if (vaddr) {
      addresses.*variable.address = *vaddr + bias;
    } else if (variable.required) {
      return Unexpected(vaddr.error());
    }
  }
  if (const auto same = memory->verify(); !same) return Unexpected(same.error());
  return RuntimeView(*std::move(memory), binary.layout(), addresses);
}

Expected<uint64_t> RuntimeView::sample_rate() const {
  const auto rate = memory_.read<int64_t>(addresses_.mem_profile_rate);
  if (!rate) return Unexpected(rate.error());
  // A negative rate switches the sampler off, too (the runtime asks for "> 0").
  return *rate > 0 ? static_cast<uint64_t>(*rate) : 0;
}

}  // namespace goheapd::runtime

#include "daemon/gobin/globals.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "daemon/gobin/disassembler.h"

namespace goheapd::gobin {
namespace {

// The `operand`-th operand of `function` that is relative to the program counter points `field` bytes into `variable`.
// Measured on binaries of Go 1.19 and 1.21 to 1.27, amd64 and arm64: the same operand in all of them, unless a
// range of minor versions says otherwise.
struct Recipe {
  std::string_view variable;
  std::string_view function;
  int operand = 0;
  uint32_t (*field)(const RuntimeLayout&) = nullptr;  // nullptr: its start
  int first_minor = kOldestMinor;
  int last_minor = kNewestMinor;
  int arm64_operand = -1;  // -1: as on amd64
};

uint32_t heap_sweepgen(const RuntimeLayout& layout) { return layout.mheap.sweepgen.offset; }
uint32_t heap_arenas(const RuntimeLayout& layout) { return layout.mheap.arenas.offset; }
uint32_t stats_buckhash(const RuntimeLayout& layout) { return layout.mstats.buckhash_sys.offset; }
uint32_t stats_other(const RuntimeLayout& layout) { return layout.mstats.other_sys.offset; }
uint32_t stats_numgc(const RuntimeLayout& layout) { return layout.mstats.numgc.offset; }
uint32_t gc_mapped_ready(const RuntimeLayout& layout) { return layout.gc_controller.mapped_ready.offset; }
uint32_t gc_last_heap_goal(const RuntimeLayout& layout) { return layout.gc_controller.last_heap_goal.offset; }
uint32_t gc_mark_start_time(const RuntimeLayout& layout) {
  return layout.gc_controller.mark_start_time.offset;
}
uint32_t sched_g_free(const RuntimeLayout& layout) { return layout.schedt.g_free.offset; }
uint32_t sched_mnext(const RuntimeLayout& layout) { return layout.schedt.mnext.offset; }
uint32_t sched_nmfreed(const RuntimeLayout& layout) { return layout.schedt.nmfreed.offset; }
uint32_t sweep_active(const RuntimeLayout& layout) { return layout.sweepdata.active.offset; }
uint32_t sweep_central_index(const RuntimeLayout& layout) { return layout.sweepdata.central_index.offset; }

constexpr Recipe kRecipes[] = {
    {"runtime.firstmoduledata", "runtime.findfunc", 0},
    {"runtime.firstmoduledata", "runtime.resolveNameOff", 0},
    {"runtime.firstmoduledata", "runtime.resolveTypeOff", 0},
    {"runtime.firstmoduledata", "runtime.modulesinit", 1},

    {"runtime.mheap_", "runtime.getempty.func1", 0},
    {"runtime.mheap_", "runtime.allocmcache.func1", 0},
    {"runtime.mheap_", "runtime.sweepone.func1", 0},
    {"runtime.mheap_", "runtime.(*mcache).allocLarge", 0},
    {"runtime.mheap_", "runtime.(*mcentral).uncacheSpan", 0, heap_sweepgen},
    {"runtime.mheap_", "runtime.(*mcache).prepareForSweep", 0, heap_sweepgen},
    {"runtime.mheap_", "runtime.(*sweepLocked).sweep", 0, heap_sweepgen},
    {"runtime.mheap_", "runtime.spanOfHeap", 0, heap_arenas},

    {"runtime.mbuckets", "runtime.mProf_FlushLocked", 0},
    {"runtime.mbuckets", "runtime.stkbucket", 7, nullptr, 19, 24},
    {"runtime.mbuckets", "runtime.MemProfile", 3, nullptr, 19, 22},
    {"runtime.mbuckets", "runtime.memProfileInternal", 3, nullptr, 23, 27},
    {"runtime.mProfCycle", "runtime.mProf_PostSweep", 0},
    {"runtime.mProfCycle", "runtime.mProf_Flush", 0},
    {"runtime.mProfCycle", "runtime.mProf_Free", 0},
    {"runtime.profMemActiveLock", "runtime.mProf_PostSweep", 1},
    {"runtime.profMemActiveLock", "runtime.mProf_PostSweep", 3},
    {"runtime.profMemFutureLock", "runtime.mProf_PostSweep", 2},
    {"runtime.profMemFutureLock", "runtime.mProf_Free", 1},
    {"runtime.MemProfileRate", "runtime.profilealloc", 1},
    {"runtime.MemProfileRate", "runtime.allocmcache", 2},

    {"runtime.memstats", "runtime.newBucket", 0, stats_buckhash},
    {"runtime.memstats", "runtime.recordspan", 0, stats_other},
    {"runtime.memstats", "runtime.(*gcCPULimiterState).accumulate", 0, stats_numgc},
    {"runtime.memstats", "runtime.(*mcache).allocLarge", 1},
    {"runtime.gcController", "runtime.sysAlloc", 0, gc_mapped_ready, 19, 27, 1},
    {"runtime.gcController", "runtime.gcinit", 1},
    {"runtime.gcController", "runtime.gcControllerCommit", 1},
    {"runtime.gcController", "runtime.(*gcControllerState).endCycle", 0, gc_last_heap_goal},
    {"runtime.gcController", "runtime.pollFractionalWorkerExit", 0, gc_mark_start_time},
    {"runtime.work", "runtime.putfull", 0},
    {"runtime.work", "runtime.trygetfull", 0},
    {"runtime.gcphase", "runtime.(*gcWork).balance", 0},
    {"runtime.gcphase", "runtime.gcMarkTermination", 0},
    {"runtime.gcphase", "runtime.gcSweep", 0},
    {"runtime.gcphase", "runtime.queuefinalizer", 0},
    {"runtime.sweep", "runtime.(*mheap).alloc.func1", 0, sweep_active},
    {"runtime.sweep", "runtime.(*mheap).nextSpanForSweep", 0, sweep_central_index},
    {"runtime.sweep", "runtime.(*mspan).ensureSwept", 0, sweep_active},
    {"runtime.sweep", "runtime.gcControllerCommit", 0, sweep_active},

    {"runtime.allp", "runtime.gcMarkTinyAllocs", 0},
    {"runtime.allp", "runtime.preemptall", 0},
    {"runtime.allp", "runtime.gcComputeStartingStackSize", 1},
    {"runtime.allp", "runtime.timeSleepUntil", 1},
    {"runtime.allglen", "runtime.forEachGRace", 0},
    {"runtime.allglen", "runtime.goroutineProfileWithLabelsConcurrent", 0, nullptr, 23, 27},
    {"runtime.allgptr", "runtime.forEachGRace", 1},
    {"runtime.allgs", "runtime.forEachG", 1},
    {"runtime.allgs", "runtime.allgadd", 7},
    {"runtime.gomaxprocs", "runtime.flushallmcaches", 0},
    {"runtime.gomaxprocs", "runtime.procresize", 0},
    {"runtime.gomaxprocs", "runtime.GOMAXPROCS", 1},
    {"runtime.sched", "runtime.markrootFreeGStacks", 0, sched_g_free},
    {"runtime.sched", "runtime.mReserveID", 0, sched_mnext},
    {"runtime.sched", "runtime.newosproc", 2, sched_mnext},
    {"runtime.sched", "runtime.newosproc", 3, sched_nmfreed},
    {"runtime.m0", "runtime.mexit", 0},
    {"runtime.m0", "runtime.mstart1", 0},
    {"runtime.m0", "runtime.main", 4},
    {"runtime.g0", "runtime.rt0_go", 0},
    {"runtime.mcache0", "runtime.profilealloc", 0},
    {"runtime.emptymspan", "runtime.(*mcache).refill", 0},
    {"runtime.emptymspan", "runtime.(*mcache).releaseAll", 1},
    {"runtime.emptymspan", "runtime.allocmcache", 1},
    {"runtime.runtimeInitTime", "runtime.main", 5},
};

bool in_writable_data(const ElfFile& elf, uint64_t vaddr) {
  return std::any_of(elf.loads().begin(), elf.loads().end(), [&](const ElfSegment& load) {
    return load.writable && vaddr >= load.vaddr && vaddr - load.vaddr < load.memory_size;
  });
}

// Program-counter relative operands of functions, each function disassembled once.
class OperandTable {
 public:
  OperandTable(const FunctionLookup& functions, Arch arch) : functions_(functions), arch_(arch) {}

  std::optional<uint64_t> operand(std::string_view function, int index) {
    auto [entry, is_new] = table_.try_emplace(function);
    if (is_new) entry->second = operands_of(function);
    if (index < 0 || static_cast<size_t>(index) >= entry->second.size()) return std::nullopt;
    return entry->second[static_cast<size_t>(index)];
  }

 private:
  std::vector<uint64_t> operands_of(std::string_view name) const {
    std::vector<uint64_t> operands;
    auto function = functions_(name);
    if (!function) return operands;
    auto code = disassemble(*function, arch_);
    if (!code) return operands;
    for (const Instruction& instruction : *code) {
      if (instruction.data_address) operands.push_back(*instruction.data_address);
    }
    return operands;
  }

  const FunctionLookup& functions_;
  Arch arch_;
  std::map<std::string_view, std::vector<uint64_t>> table_;
};

// Settles on the address with the most votes, which must outnumber all others together.
void settle(const std::map<uint64_t, unsigned>& ballot, GlobalVariable& variable) {
  unsigned all = 0;
  uint64_t winner = 0;
  for (const auto& [address, votes] : ballot) {
    all += votes;
    if (votes > variable.votes) {
      winner = address;
      variable.votes = votes;
    }
  }
  variable.dissenting_votes = all - variable.votes;
  if (all == 0) {
    variable.reason = "none of the functions whose code refers to it is in the file";
  } else if (variable.votes <= variable.dissenting_votes) {
    variable.reason = "the functions whose code refers to it contradict each other";
  } else {
    variable.vaddr = winner;
  }
}

void compare_with_symbol(uint64_t symbol, GlobalVariable& variable) {
  variable.in_symbol_table = true;
  if (variable.vaddr && *variable.vaddr != symbol) {
    variable.vaddr.reset();
    variable.reason = "the symbol table contradicts the code that refers to it";
  } else {
    variable.vaddr = symbol;
    variable.reason.clear();
  }
}

}  // namespace

Globals Globals::find(const ElfFile& elf, const RuntimeLayout& layout, const FunctionLookup& functions) {
  OperandTable operands(functions, layout.arch);
  Globals found;
  for (const auto* recipe = std::begin(kRecipes); recipe != std::end(kRecipes);) {
    GlobalVariable& variable = found.variables_.emplace_back();
    variable.name = recipe->variable;
    std::map<uint64_t, unsigned> ballot;
    for (; recipe != std::end(kRecipes) && recipe->variable == variable.name; ++recipe) {
      if (layout.minor < recipe->first_minor || layout.minor > recipe->last_minor) continue;
      const bool own_index = layout.arch == Arch::arm64 && recipe->arm64_operand >= 0;
      auto operand = operands.operand(recipe->function, own_index ? recipe->arm64_operand : recipe->operand);
      if (!operand) continue;
      const uint64_t start = *operand - (recipe->field == nullptr ? 0 : recipe->field(layout));
      if (in_writable_data(elf, *operand) && in_writable_data(elf, start)) ++ballot[start];
    }
    settle(ballot, variable);
  }
  elf.for_each_symbol([&](std::string_view name, uint64_t value) {
    for (GlobalVariable& variable : found.variables_) {
      if (variable.name == name && !variable.in_symbol_table) compare_with_symbol(value, variable);
    }
  });
  return found;
}

Expected<uint64_t> Globals::address(std::string_view name) const {
  auto variable = std::find_if(variables_.begin(), variables_.end(),
                               [&](const GlobalVariable& candidate) { return candidate.name == name; });
  if (variable == variables_.end())
    return fail("no way is known to find this runtime variable", std::string(name));
  if (!variable->vaddr) return fail(variable->reason, std::string(name));
  return *variable->vaddr;
}

}  // namespace goheapd::gobin

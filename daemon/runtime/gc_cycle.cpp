#include "daemon/runtime/gc_cycle.h"

#include <cstring>

#include "daemon/runtime/heap_pacing.h"

namespace goheapd::runtime {
namespace {

uint32_t work_begin(const gobin::RuntimeLayout& layout) { return layout.work.mode.offset; }
uint32_t memstats_begin(const gobin::RuntimeLayout& layout) { return layout.mstats.numgc.offset; }

// A part of a struct that begins at `begin`; notes when a field is not in it.
class Reader {
 public:
  Reader(const std::vector<std::byte>& bytes, uint32_t begin, bool& complete)
      : bytes_(ByteView(bytes)), begin_(begin), complete_(&complete) {}
  uint64_t operator[](gobin::Field field) const {
    const bool inside = field.present() && field.offset >= begin_;
    field.offset -= begin_;
    const auto value = inside ? gobin::read_field(bytes_, field) : std::nullopt;
    if (!value) *complete_ = false;
    return value.value_or(0);
  }

 private:
  ByteView bytes_;
  uint32_t begin_;
  bool* complete_;
};

}  // namespace

std::array<MemoryRange, model::kGcParts> gc_cycle_parts(const gobin::RuntimeLayout& layout,
                                                        const GcVariables& variables) {
  const uint32_t work = work_begin(layout);
  const uint32_t memstats = memstats_begin(layout);
  std::array<MemoryRange, model::kGcParts> parts;
  parts[model::kGcWork] = {variables.work + work, layout.work.heap2.end() - work};
  parts[model::kGcController] = {variables.gc_controller, layout.gc_controller.mapped_ready.end()};
  parts[model::kGcMemstats] = {variables.memstats + memstats,
                               layout.mstats.last_heap_in_use.end() - memstats};
  parts[model::kGcInitTime] = {variables.runtime_init_time, sizeof(int64_t)};
  return parts;
}

Expected<model::GcCycle> decode_gc_cycle(const gobin::RuntimeLayout& layout,
                                         const model::GcCycleMemory& memory) {
  bool complete = true;
  const Reader work(memory.parts[model::kGcWork], work_begin(layout), complete);
  const Reader controller(memory.parts[model::kGcController], 0, complete);
  const Reader memstats(memory.parts[model::kGcMemstats], memstats_begin(layout), complete);
  const Reader init_time(memory.parts[model::kGcInitTime], 0, complete);
  const auto& w = layout.work;
  const auto& c = layout.gc_controller;
  const auto& m = layout.mstats;
  const auto time = [](uint64_t value) { return static_cast<int64_t>(value); };

  model::GcCycle cycle;
  cycle.number = static_cast<uint32_t>(memstats[m.numgc]);
  cycle.forced_so_far = static_cast<uint32_t>(memstats[m.numforcedgc]);
  const uint64_t fraction = memstats[m.gc_cpu_fraction];
  std::memcpy(&cycle.cpu_fraction, &fraction, sizeof fraction);
  cycle.heap_in_use = memstats[m.last_heap_in_use];
  cycle.program_start_ns = time(init_time[gobin::Field{0, sizeof(int64_t)}]);

  cycle.printed_as_forced = work[w.user_forced] != 0;
  cycle.forced = cycle.printed_as_forced;
  cycle.start_ns = time(work[w.t_sweep_term]);
  cycle.mark_ns = time(work[w.t_mark]);
  cycle.mark_end_ns = time(work[w.t_mark_term]);
  cycle.end_ns = time(work[w.t_end]);
  cycle.pause_ns = time(work[w.pause_ns]);
  cycle.stop_procs = static_cast<int32_t>(work[w.stwprocs]);
  cycle.max_procs = static_cast<int32_t>(work[w.maxprocs]);
  cycle.heap_before = work[w.heap0];
  cycle.heap_at_mark_end = work[w.heap1];
  cycle.heap_marked = work[w.heap2];

  cycle.assist_ns = time(controller[c.assist_time]);
  cycle.dedicated_ns = time(controller[c.dedicated_mark_time]);
  cycle.fractional_ns = time(controller[c.fractional_mark_time]);
  cycle.idle_ns = time(controller[c.idle_mark_time]);
  cycle.goal = controller[c.last_heap_goal];
  cycle.heap_live = controller[c.heap_live];
  // 1.19 prints another measure of stacks: https://github.com/golang/go/blob/go1.19.8/src/runtime/mgc.go#L1073
  cycle.stack_bytes = controller[layout.minor < 21 ? c.max_stack_scan : c.last_stack_scan];
  cycle.global_bytes = controller[c.globals_scan];
  cycle.gc_percent = static_cast<int32_t>(controller[c.gc_percent]);
  cycle.memory_limit = time(controller[c.memory_limit]);
  if (auto next = heap_goal_inputs(layout, ByteView(memory.parts[model::kGcController]))) {
    cycle.next_goal = heap_goal(*next, layout.minor);
    cycle.next_trigger = heap_trigger(*next, layout.minor);
  } else {
    complete = false;
  }

  if (!complete) return fail("a part of the collector's variables is missing");
  if (cycle.end_ns < cycle.mark_end_ns || cycle.mark_end_ns < cycle.mark_ns) {
    return fail("no collection has ended here");
  }
  // The world stopped for this cycle, and not for anything else before it.
  if (time(memory.start_ns) >= cycle.start_ns && time(memory.start_ns) <= cycle.mark_ns) {
    if (auto at_start = heap_goal_inputs(layout, ByteView(memory.controller_at_start)))
      cycle.trigger = heap_trigger(*at_start, layout.minor);
  }
  return cycle;
}

}  // namespace goheapd::runtime

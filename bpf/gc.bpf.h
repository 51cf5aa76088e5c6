// The garbage collector's cycles.
#pragma once

#include "go_context.bpf.h"

// runtime.mProf_Flush() at the end of a GC cycle, runtime.mProf_PostSweep() at the end of a forced one.
static __always_inline void on_profile_flush(const struct Hit* hit, __u32 post_sweep) {
  struct WireProfileFlush* event = reserve_event(WireProfileFlush, hit->target_index);
  if (!event) return;
  fill_header(&event->header, kEventProfileFlush, hit->target->session);
  event->post_sweep = post_sweep;
  event->reserved = 0;
  // Source spans has to look at each cycle before the next one, so the reader is not left to sleep.
  bpf_ringbuf_submit(event, is_recording(hit, kGroupSpans) ? BPF_RB_FORCE_WAKEUP : ring_flags());
}

// At runtime.mProf_Flush() all that GODEBUG=gctrace=1 is about to print is in the runtime's variables, and no other cycle
// can begin before it is printed. Later is too late: cycles may last milliseconds.
static __always_inline void on_gc_cycle(const struct Hit* hit) {
  if (!hit->target->gc_parts[0].address) return;
  struct WireGcCycle* event = reserve_event(WireGcCycle, hit->target_index);
  if (!event) return;
  fill_header(&event->header, kEventGcCycle, hit->target->session);
  int complete = 1;
#pragma unroll
  for (int i = 0; i < kGcParts; ++i) {
    __u32 bytes = hit->target->gc_parts[i].bytes;
    barrier_var(bytes);
    if (bytes > kGcPartBytes) bytes = kGcPartBytes;
    __builtin_memset(event->parts[i], 0, kGcPartBytes);
    if (bpf_probe_read_user(event->parts[i], bytes, (void*)hit->target->gc_parts[i].address)) complete = 0;
  }
  if (!complete) {
    count_loss(hit->target_index, kLossMemoryRead);
    bpf_ringbuf_discard(event, BPF_RB_NO_WAKEUP);
    return;
  }
  submit_event(event);
}

// runtime.gcMarkTermination(): here a check for goroutine leaks is still noted, at mProf_Flush no more.
static __always_inline void on_gc_mark_termination(const struct Hit* hit) {
  __u8 checked = 0;
  if (bpf_probe_read_user(&checked, sizeof(checked), (void*)hit->target->gc_leak_check)) {
    count_loss(hit->target_index, kLossMemoryRead);
    return;
  }
  if (!checked) return;
  struct WireHeader* event = reserve_event(WireHeader, hit->target_index);
  if (!event) return;
  fill_header(event, kEventGcLeakCheck, hit->target->session);
  submit_event(event);
}

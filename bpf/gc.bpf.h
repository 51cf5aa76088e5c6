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
  __u32 index = hit->target_index;
  const struct WireGcStart* start = bpf_map_lookup_elem(&gc_starts, &index);
  __builtin_memset(&event->start, 0, sizeof(event->start));
  if (start && start->session == hit->target->session)
    bpf_probe_read_kernel(&event->start, sizeof(event->start), start);
  submit_event(event);
}

// What decides when a cycle begins is gone from the runtime's variables when it ends.
static __always_inline void keep_gc_start(const struct Hit* hit) {
  __u64 triggered;
  if (!hit->target->gc_triggered || !read_word(hit, hit->target->gc_triggered, &triggered)) return;
  if (triggered != ~0ULL) return;
  __u32 index = hit->target_index;
  struct WireGcStart* start = bpf_map_lookup_elem(&gc_starts, &index);
  if (!start) return;
  __u32 bytes = hit->target->gc_parts[kGcController].bytes;
  barrier_var(bytes);
  if (bytes > kGcPartBytes) bytes = kGcPartBytes;
  start->session = 0;
  if (bpf_probe_read_user(start->controller, bytes, (void*)hit->target->gc_parts[kGcController].address)) {
    count_loss(index, kLossMemoryRead);
    return;
  }
  start->time_ns = bpf_ktime_get_ns();
  start->session = hit->target->session;
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

// runtime.stopTheWorldWithSema(reason), on the system stack of the thread that stops the others; up to 1.19 without reason.
// Then the m that runs it has been told not to be preempted, and why.
// https://github.com/golang/go/blob/go1.19.8/src/runtime/proc.go#L1089
static __always_inline void on_world_stop(struct pt_regs* ctx, const struct Hit* hit) {
  __u32 index = hit->target_index;
  keep_gc_start(hit);
  struct WireStop* stop = bpf_map_lookup_elem(&world_stops, &index);
  if (!stop) return;
  stop->began_ns = bpf_ktime_get_ns();
  stop->session = hit->target->session;
  stop->text_length = 0;
  stop->reason = (__u8)GO_ARG0(ctx);
  if (hit->target->stop_has_reason) return;
  stop->reason = kStopReasonByText;
  __u64 m, text, length;
  if (!read_word(hit, GO_G(ctx) + hit->target->g_m, &m)) return;
  if (!read_word(hit, m + hit->target->m_preemptoff, &text)) return;
  if (!read_word(hit, m + hit->target->m_preemptoff + sizeof(text), &length)) return;
  if (length > kStopTextBytes) length = kStopTextBytes;
  barrier_var(length);
  if (length == 0 || length > kStopTextBytes) return;
  if (bpf_probe_read_user(stop->text, length, (void*)text)) {
    count_loss(index, kLossMemoryRead);
    return;
  }
  stop->text_length = length;
}

// runtime.startTheWorldWithSema(): one event for the whole stop, so that none is known by half.
static __always_inline void on_world_start(const struct Hit* hit) {
  __u32 index = hit->target_index;
  struct WireStop* stop = bpf_map_lookup_elem(&world_stops, &index);
  // Probes that came in the middle of a stop see its end only.
  if (!stop || !stop->began_ns || stop->session != hit->target->session) return;
  struct WireWorldStop* event = reserve_event(WireWorldStop, index);
  if (event) {
    fill_header(&event->header, kEventWorldStop, hit->target->session);
    event->stop = *stop;
    submit_event(event);
  }
  stop->began_ns = 0;
}

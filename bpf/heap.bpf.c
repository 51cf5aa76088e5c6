// What runs in the kernel when a probed Go process allocates. Entry points only; the work is in the headers.
//
//   sampled  the runtime's own sampler takes an object (about one in 512 KiB), frees it, publishes its
//   profile exact    every allocation, counted here by stack, type and size class; only new stacks travel
//   spans    where that sampler is off: which code makes a P take a new span, sampled by bytes
//   process  a program starts, a target ends
#include <linux/bpf.h>
//
#include <bpf/bpf_core_read.h>

#include "exact.bpf.h"
#include "gc.bpf.h"
#include "sampled.bpf.h"
#include "spans.bpf.h"

char kLicense[] SEC("license") = "GPL";

SEC("uprobe")
int sampled_hit(struct pt_regs* ctx) {
  refuse_private_stack(ctx);
  struct Hit hit = {};
  if (resolve_hit(ctx, &hit)) {
    __u8 role = site_role(hit.cookie);
    // First, since the verifier follows its loop once for each way to get there.
    if (role == kRoleSpanRelease && is_recording(&hit, kGroupGc)) on_span_release(ctx, &hit);
    if (is_recording(&hit, kGroupSampled)) {
      if (role == kRoleSetProfileBucket) on_set_profile_bucket(ctx, &hit);
      if (role == kRoleFreeSpecial) on_free_special(ctx, &hit);
      if (role == kRoleProfileAlloc) on_profile_alloc(ctx, &hit);
    }
    if (is_recording(&hit, kGroupGc)) {
      if (role == kRoleProfileFlush) {
        on_gc_cycle(&hit);
        on_profile_flush(&hit, 0);
      }
      if (role == kRoleGcMarkTermination) on_gc_mark_termination(&hit);
      if (role == kRoleProfilePostSweep) on_profile_flush(&hit, 1);
      if (role == kRoleWorldStop) on_world_stop(ctx, &hit);
      if (role == kRoleWorldStart) on_world_start(&hit);
    }
  }
  finish_hit(&hit);
  return 0;
}

SEC("uprobe")
int exact_hit(struct pt_regs* ctx) {
  refuse_private_stack(ctx);
  struct Hit hit = {};
  if (resolve_hit(ctx, &hit) && is_recording(&hit, kGroupExact) && is_in_window(&hit)) on_malloc(ctx, &hit);
  finish_hit(&hit);
  return 0;
}

SEC("uprobe")
int spans_hit(struct pt_regs* ctx) {
  refuse_private_stack(ctx);
  struct Hit hit = {};
  if (resolve_hit(ctx, &hit) && is_recording(&hit, kGroupSpans)) {
    __u8 role = site_role(hit.cookie);
    if (role == kRoleSpanRefill) on_span_refill(ctx, &hit);
    if (role == kRoleSpanUncache) on_span_uncache(ctx, &hit);
    if (role == kRoleSpanLarge) on_span_large(ctx, &hit);
  }
  finish_hit(&hit);
  return 0;
}

// Structs that only travel through the ring belong to no map; naming them here makes the compiler describe them, so that
// the layout test can compare them. The section is one that libbpf does not load.
union {
  struct WireSampledBirth birth;
  struct WireSampledDeath death;
  struct WireProfileFlush flush;
  struct WireSpanRunCut cut;
  struct WireGcCycle gc_cycle;
  struct WireWorldStop world_stop;
} described_types SEC("wire_types");

// The daemon's own functions are probed with this to learn what works on this kernel and what a hit costs.
__u64 self_test_hits[4];

SEC("uprobe")
int self_test_hit(struct pt_regs* ctx) {
  refuse_private_stack(ctx);
  __u64 cookie = sites_have_cookies ? bpf_get_attach_cookie(ctx) : 0;
  __sync_fetch_and_add(&self_test_hits[cookie & 3], 1);
  return 0;
}

SEC("raw_tp/sched_process_exec")
int process_exec(void* ctx) {
  __u32 tgid = bpf_get_current_pid_tgid() >> 32;
  __u32* index = bpf_map_lookup_elem(&target_of_process, &tgid);
  if (index) {
    // The old program is gone. Should the new one run the same file, its hits must not be added to the old
    // one's. The daemon, which has not heard of it yet, may switch the recording on at this moment, but never writes tgid.
    struct WireTarget* target = bpf_map_lookup_elem(&targets, index);
    if (target) *(volatile __u32*)&target->tgid = 0;
  }
  struct WireHeader* event = reserve_event(WireHeader, kNoTargetIndex);
  if (!event) return 0;
  fill_header(event, kEventProcessExec, 0);
  submit_event(event);
  return 0;
}

// Runs at the end of each thread; of interest is the last one of a target. Two threads that end together may
// both see themselves as the last, so the event can come twice.
SEC("raw_tp/sched_process_exit")
int process_exit(void* ctx) {
  __u32 tgid = bpf_get_current_pid_tgid() >> 32;
  __u32* index = bpf_map_lookup_elem(&target_of_process, &tgid);
  if (!index) return 0;
  struct task_struct* task = (struct task_struct*)bpf_get_current_task();
  if (BPF_CORE_READ(task, signal, live.counter) > 0) return 0;
  struct WireTarget* target = bpf_map_lookup_elem(&targets, index);
  struct WireHeader* event = reserve_event(WireHeader, *index);
  if (!event) return 0;
  fill_header(event, kEventProcessExit, target ? target->session : 0);
  submit_event(event);
  return 0;
}

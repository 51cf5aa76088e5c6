// What the registers of a Go thread mean at a probe site, and the goroutine behind them.
// https://github.com/golang/go/blob/go1.24.4/src/cmd/compile/abi-internal.md (section "Architecture
// specifics")
#pragma once

#include "kernel_types.h"
#include "maps.bpf.h"

#if defined(__TARGET_ARCH_x86)
#define GO_ARG0(ctx) ((ctx)->rax)
#define GO_ARG1(ctx) ((ctx)->rbx)
#define GO_ARG2(ctx) ((ctx)->rcx)
#define GO_G(ctx) ((ctx)->r14)
#define GO_FP(ctx) ((ctx)->rbp)
#define GO_SP(ctx) ((ctx)->rsp)
#define GO_PC(ctx) ((ctx)->rip)
// Will the `jbe` under the probe jump? Carry or zero flag.
#define GO_BRANCH_TAKEN(ctx) (((ctx)->eflags & 0x41) != 0)
#elif defined(__TARGET_ARCH_arm64)
#define GO_ARG0(ctx) ((ctx)->user_regs.regs[0])
#define GO_ARG1(ctx) ((ctx)->user_regs.regs[1])
#define GO_ARG2(ctx) ((ctx)->user_regs.regs[2])
#define GO_G(ctx) ((ctx)->user_regs.regs[28])
#define GO_FP(ctx) ((ctx)->user_regs.regs[29])
#define GO_SP(ctx) ((ctx)->user_regs.sp)
#define GO_LR(ctx) ((ctx)->user_regs.regs[30])
#define GO_PC(ctx) ((ctx)->user_regs.pc)
// `b.ls`: carry clear or zero set (bits 29 and 30).
#define GO_BRANCH_TAKEN(ctx) ((((ctx)->user_regs.pstate >> 29) & 3) != 1)
#endif

// Cookies exist for uprobe_multi and, since 5.15, perf links; not for tracefs events. The daemon knows what
// it attaches with, and the verifier drops the other branch, so older kernels never see the helper that they
// do not know.
const volatile __u8 sites_have_cookies = 1;

// A hit, resolved to its site and target.
struct Hit {
  __u64 cookie;
  struct WireTarget* target;
  struct WireStatistics* statistics;
  __u64 began_ns;  // 0: this run is not timed
  __u32 target_index;
};

static __always_inline __u8 site_flags(__u64 cookie) { return cookie >> kSiteFlagsShift; }
static __always_inline __u8 site_role(__u64 cookie) { return cookie; }
static __always_inline __u32 site_min_size(__u64 cookie) { return cookie >> kSiteMinSizeShift; }

// So many hits in so short a time cost the target more than its operator allows: only cycles are recorded any more, and the
// daemon is woken to take the other probes out. Waking it the usual way would be too late: hits at the full speed of a program
// that does nothing but allocate take more than half of its time.
static __always_inline void check_storm(const struct Hit* hit, __u64 now) {
  struct WireTarget* target = hit->target;
  __u64 since = hit->statistics->storm_check_ns;
  hit->statistics->storm_check_ns = now;
  if (target->window_end_ns) return;
  if (!since || now - since >= target->storm_ns) return;
  __u32 recording = *(volatile __u32*)&target->recording;
  if (!(recording & ~kGroupGc)) return;
  *(volatile __u32*)&target->recording = recording & kGroupGc;
  struct WireHeader* event = reserve_event(WireHeader, hit->target_index);
  if (!event) return;
  fill_header(event, kEventHitStorm, target->session);
  bpf_ringbuf_submit(event, BPF_RB_FORCE_WAKEUP);
}

static __always_inline void count_hit(struct Hit* hit) {
  struct WireStatistics* entry = hit->statistics;
  __sync_fetch_and_add(&entry->hits, 1);
  if (site_flags(hit->cookie) & kSiteSingleStep) __sync_fetch_and_add(&entry->single_step_hits, 1);
  __u64 hits = *(volatile __u64*)&entry->hits;
  if (hits & (kTimedRuns - 1)) return;
  hit->began_ns = bpf_ktime_get_ns();
  if (!(hits & (kStormHits - 1))) check_storm(hit, hit->began_ns);
}

// The end of every program that has resolved a hit. A run that was preempted counts as the one before it, not with the time
// that others ran meanwhile: times kTimedRuns, a single one would look like a breach of the budget.
static __always_inline void finish_hit(const struct Hit* hit) {
  if (!hit->began_ns) return;
  __u64 took = bpf_ktime_get_ns() - hit->began_ns;
  __u64 usual = *(volatile __u64*)&hit->statistics->usual_run_ns;
  if (took <= kLongestRunNs) {
    *(volatile __u64*)&hit->statistics->usual_run_ns = took;
  } else {
    took = usual ? usual : kLongestRunNs;
  }
  __sync_fetch_and_add(&hit->statistics->program_ns, took * kTimedRuns);
}

// Counts the hit and finds its site and target. False: the hit means nothing, and that has been counted if it is a loss.
// finish_hit() is due in any case.
static __always_inline int resolve_hit(struct pt_regs* ctx, struct Hit* hit) {
  __u32 tgid = bpf_get_current_pid_tgid() >> 32;
  __u64 cookie;
  if (sites_have_cookies) {
    cookie = bpf_get_attach_cookie(ctx);
  } else {
    struct WireSiteKey key = {.tgid = tgid, .address = GO_PC(ctx)};
    __u64* found = bpf_map_lookup_elem(&sites, &key);
    if (!found) {
      count_loss(kNoTargetIndex, kLossNoTarget);
      return 0;
    }
    cookie = *found;
  }
  __u32 index = (__u16)(cookie >> kSiteTargetShift);
  struct WireTarget* target = bpf_map_lookup_elem(&targets, &index);
  // Another process of the same file, where the kernel does not tell processes apart, or a child of the target between fork
  // and exec: nobody asked for what it allocates.
  if (target && target->tgid && target->tgid != tgid) return 0;
  if (!target || !target->tgid) {
    count_loss(kNoTargetIndex, kLossNoTarget);
    return 0;
  }
  struct WireStatistics* entry = bpf_map_lookup_elem(&statistics, &index);
  if (!entry) return 0;  // cannot be: the index is that of a target
  hit->cookie = cookie;
  hit->target = target;
  hit->statistics = entry;
  hit->target_index = index;
  count_hit(hit);
  return !((site_flags(cookie) & kSiteFilterTaken) && GO_BRANCH_TAKEN(ctx));
}

static __always_inline int is_recording(const struct Hit* hit, __u32 group) {
  return (*(volatile __u32*)&hit->target->recording & group) != 0;
}

// All sites of a window stop at the same moment, however late the daemon comes to take them out.
static __always_inline int is_in_window(const struct Hit* hit) {
  __u64 end = *(volatile const __u64*)&hit->target->window_end_ns;
  return !end || bpf_ktime_get_ns() < end;
}

// A word of the target's memory; false and counted when its page is not there.
static __always_inline int read_word(const struct Hit* hit, __u64 address, __u64* value) {
  if (bpf_probe_read_user(value, sizeof(*value), (void*)address) == 0) return 1;
  *value = 0;
  count_loss(hit->target_index, kLossMemoryRead);
  return 0;
}

// The id of the goroutine on whose behalf the thread runs: m.curg, also while it is on the system stack. 0 =
// none.
static __always_inline __u64 goroutine_id(struct pt_regs* ctx, const struct Hit* hit) {
  __u64 m, curg, goid;
  if (!read_word(hit, GO_G(ctx) + hit->target->g_m, &m) || !m) return 0;
  if (!read_word(hit, m + hit->target->m_curg, &curg) || !curg) return 0;
  if (!read_word(hit, curg + hit->target->g_goid, &goid)) return 0;
  return goid;
}

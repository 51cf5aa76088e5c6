// Every map, and the two ways to put something into one: it succeeds, or the loss is counted with its reason.
#pragma once

#include <linux/bpf.h>
//
#include <bpf/bpf_helpers.h>

#include "wire.h"

// Sizes marked "set at load" are placeholders that the daemon replaces by its options.

// By the index in the sites' cookies. An array, since its look-up is inlined: a hit costs no hash for its
// target. The daemon maps it, to change single words: one of them is ours, see process_exec().
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);  // set at load
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct WireTarget);
} targets SEC(".maps");

// tgid -> index into `targets`, for events that are not hits (exec, exit).
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1);  // set at load
  __type(key, __u32);
  __type(value, __u32);
} target_of_process SEC(".maps");

// By the index of the target: the stop that it is in. A process can be in one only, since it holds the runtime's
// worldsema for it.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);  // set at load
  __type(key, __u32);
  __type(value, struct WireStop);
} world_stops SEC(".maps");

// By the index of the target.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);  // set at load
  __type(key, __u32);
  __type(value, struct WireGcStart);
} gc_starts SEC(".maps");

// Address -> cookie, only used where the kernel gives no cookie.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1);  // set at load
  __type(key, struct WireSiteKey);
  __type(value, __u64);
} sites SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);  // set at load
  __type(key, __u32);
  __type(value, struct WireStatistics);
} statistics SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4096);  // set at load
} events SEC(".maps");

// Not preallocated where the kernel's BPF allocator allows (the daemon decides at load): the memory then
// follows the number of stacks that a program really has.
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
  __uint(max_entries, 1);  // set at load
  __type(key, struct WireExactKey);
  __type(value, struct WireExactValue);
} exact_counts SEC(".maps");

// Stacks that are in the ring or were taken out of it.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1);  // set at load
  __type(key, struct WireStackKey);
  __type(value, __u32);
} shipped_stacks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1);  // set at load
  __type(key, struct WireRunKey);
  __type(value, struct WireSpanCache);
} span_caches SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1);  // set at load
  __type(key, struct WireRunKey);
  __type(value, struct WireOpenRun);
} open_runs SEC(".maps");

// Empty for good, see refuse_private_stack().
struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} no_programs SEC(".maps");
const volatile __u8 never = 0;

// From 6.13 on the kernel puts the stack of such programs as these into memory of the CPU ("private stack"), which is right
// only for programs that are not preempted. On a uprobe they can be: another thread of the target that gets the CPU in the
// middle of one runs the same program on the same stack, and what the first had spilled there, pointers too, is gone.
// A kernel with PREEMPT(lazy), 7.2, then oopses now and then. Programs with a tail call get no private stack, and it need
// not be in code that runs: the verifier looks for it before it removes the dead.
// https://github.com/torvalds/linux/blob/v6.13/kernel/bpf/verifier.c (check_max_stack_depth)
static __always_inline void refuse_private_stack(void* context) {
  if (never) bpf_tail_call(context, &no_programs, 0);
}

// Where the ring's reader is woken: below this many waiting bytes it comes by itself within its poll
// interval. Waking it at every event would cost the target more than everything else here (a wake-up is 1 to
// 4 microseconds).
const volatile __u64 wake_bytes = 1 << 20;

static __always_inline void count_loss(__u32 target_index, enum WireLoss reason) {
  struct WireStatistics* entry = bpf_map_lookup_elem(&statistics, &target_index);
  if (entry && reason < kLossReasons) __sync_fetch_and_add(&entry->lost[reason], 1);
}

static __always_inline __u64 ring_flags(void) {
  return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= wake_bytes ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

static __always_inline void fill_header(struct WireHeader* header, __u32 kind, __u32 session) {
  __u64 thread = bpf_get_current_pid_tgid();
  header->kind = kind;
  header->tgid = thread >> 32;
  header->time_ns = bpf_ktime_get_ns();
  header->session = session;
  header->tid = (__u32)thread;
}

// Space for an event of a fixed size, or null and the loss counted. Give it back with submit_event.
#define reserve_event(type, target_index)                                      \
  ({                                                                           \
    struct type* space = bpf_ringbuf_reserve(&events, sizeof(struct type), 0); \
    if (!space) count_loss(target_index, kLossRingFull);                       \
    space;                                                                     \
  })

static __always_inline void submit_event(void* event) { bpf_ringbuf_submit(event, ring_flags()); }

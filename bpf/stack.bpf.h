// A bounded walk of the frame-pointer chain of a Go stack.
//
//       higher addresses                          per-CPU buffer
//   │ return address         │                ┌───────────────────┐
//   │ saved frame pointer    │◀──┐   copy of  │ window (≤ 2 KiB)  │  one bpf_probe_read_user fetches many frames;
//   │ locals                 │   │  ════════▶ │  ...              │  the chain is then followed inside of the copy
//   │ return address         │   │            ├───────────────────┤
//   │ saved frame pointer  ──┼───┘ ◀── rbp    │ frames[0..126]    │
//   │ locals (may be none)   │         (x29)  │ hash              │
//   │ [rsp]: return address  │                └───────────────────┘
//            └─ at a site before the frame is set up
//
// Why so: one read per frame costs 55 ns a frame, the kernel's own walker 26 and a page fault at the bottom of every
// goroutine stack (its saved frame pointer is 0, which the kernel dereferences); this costs 7.
#pragma once

#include "go_context.bpf.h"

enum {
  kWindowBytes = 2048,
  kWindowMask = kWindowBytes - 8,
  kPageBytes = 4096,
  // A chain rises to higher addresses, except where it changes stacks: system stack to goroutine stack, C and back.
  kMaxStackChanges = 4,
  // Walk buffers per CPU: programs on uprobes can be preempted, so several walks can be under way on one CPU.
  kScratchSlots = 4,
};

struct Scratch {
  __u64 users;  // 1 = owned
  // The walk's state lives in the map and not in registers, else the verifier would follow every combination
  // of values and give up (E2BIG); volatile keeps the compiler from caching it.
  volatile __u64 frame;   // frame pointer to follow next
  volatile __u64 base;    // address in the target of window[0]
  volatile __u64 length;  // valid bytes in the window, at least 16
  volatile __u64 hash;
  volatile __u64 falls;
  struct WireStackEvent event;
  __u8 window[kWindowBytes + 16];
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, kScratchSlots);
  __type(key, __u32);
  __type(value, struct Scratch);
} scratch SEC(".maps");

// A buffer that nobody else on this CPU uses, or null (counted). Ownership is by adding 1 and finding 1:
// while one holds it every other finds at least 2 and steps back, and two that collide both step back. This
// needs no compare-and-exchange, which kernels before 5.12 do not have.
static __always_inline struct Scratch* take_scratch(__u32 target_index) {
  for (__u32 slot = 0; slot < kScratchSlots; slot++) {
    __u32 key = slot;
    struct Scratch* buffer = bpf_map_lookup_elem(&scratch, &key);
    if (!buffer) return 0;
    __sync_fetch_and_add(&buffer->users, 1);
    if (*(volatile __u64*)&buffer->users == 1) return buffer;
    __sync_fetch_and_add(&buffer->users, -1);
  }
  count_loss(target_index, kLossScratchBusy);
  return 0;
}

static __always_inline void release_scratch(struct Scratch* buffer) {
  __sync_fetch_and_add(&buffer->users, -1);
}

// Copies the stack at `address` into the window. Never beyond the end of the page (unless one frame straddles
// it): the next page may not be there, and a failing read costs a fault.
static __always_inline int fill_window(struct Scratch* buffer, __u64 address) {
  __u64 length = kPageBytes - (address & (kPageBytes - 1));
  if (length > kWindowBytes) length = kWindowBytes;
  if (length < 16) length = 16;
  buffer->base = address;
  buffer->length = length;
  return bpf_probe_read_user(buffer->window, length, (void*)address) == 0;
}

static __always_inline __u64 window_word(const struct Scratch* buffer, __u64 offset) {
  return *(const volatile __u64*)(buffer->window + (offset & kWindowMask));
}
static __always_inline __u64 window_word_after(const struct Scratch* buffer, __u64 offset) {
  return *(const volatile __u64*)(buffer->window + (offset & kWindowMask) + 8);
}

// A thread's own stack begins in runtime.mstart, or in runtime.mcall where it has left a goroutine for good. The frame
// pointer that they found belongs to another stack, which others may have changed or given back by now; Go clears it from
// 1.26 on. https://github.com/golang/go/issues/63630
//
// Without a branch for each range: the verifier follows every combination of them in every frame, and gives up.
static __always_inline __u64 is_stack_root(const struct WireTarget* target, __u64 return_address) {
  __u64 found = 0;
#pragma unroll
  for (int i = 0; i < kStackRoots; ++i) {
    __u64 distance = return_address - target->stack_roots[i].begin;
    __u64 size = target->stack_roots[i].end - target->stack_roots[i].begin;
    // The sign of distance - size, unless distance itself is negative.
    found |= (distance - size) & ~distance;
  }
  return found >> 63;
}

// Fills count, flags, hash and frames of buffer->event.
static __always_inline void walk_stack(struct pt_regs* ctx, struct Scratch* buffer, int own_frame,
                                       const struct Hit* hit) {
  const __u32 target_index = hit->target_index;
  struct WireStackEvent* event = &buffer->event;
  event->count = 0;
  event->flags = 0;
  event->hash = 0;
  __u64 frame_pointer = GO_FP(ctx);
  // Loaded here for good: a choice between two registers would become a choice between two context addresses,
  // which the verifier refuses.
  barrier_var(frame_pointer);
#if defined(__TARGET_ARCH_x86)
  __u64 stack_pointer = GO_SP(ctx);
  barrier_var(stack_pointer);
  // One read for [rsp] and the frames above it.
  __u64 start = own_frame ? frame_pointer : stack_pointer;
  if ((start & 7) || !fill_window(buffer, start)) {
    event->flags = kStackUnreadable;
    count_loss(target_index, kLossStackRead);
    return;
  }
  __u64 caller = own_frame ? window_word_after(buffer, 0) : window_word(buffer, 0);
  buffer->frame = own_frame ? window_word(buffer, 0) : frame_pointer;
#else
  __u64 start = frame_pointer;
  if ((start & 7) || !fill_window(buffer, start)) {
    event->flags = kStackUnreadable;
    count_loss(target_index, kLossStackRead);
    return;
  }
  __u64 caller = own_frame ? window_word_after(buffer, 0) : GO_LR(ctx);
  buffer->frame = own_frame ? window_word(buffer, 0) : start;
#endif
  event->frames[0] = caller;
  event->count = 1;
  buffer->hash = wire_hash_step(kStackHashSeed, caller);
  buffer->falls = 0;
  for (__u32 depth = 1; depth < kMaxFrames; depth++) {
    __u64 frame = buffer->frame;
    if (frame < kPageBytes || (frame & 7)) break;
    __u64 offset = frame - buffer->base;
    if (offset > buffer->length - 16) {
      // Roots lie at the end of their stack, so what follows them is never in the window.
      if (is_stack_root(hit->target, event->frames[(depth - 1) & kMaxFrames])) break;
      if (!fill_window(buffer, frame)) {
        event->flags |= kStackUnreadable;
        count_loss(target_index, kLossStackRead);
        break;
      }
      offset = 0;
    }
    __u64 next = window_word(buffer, offset);
    __u64 return_address = window_word_after(buffer, offset);
    if (!return_address) break;
    event->frames[depth] = return_address;
    event->count = depth + 1;
    buffer->hash = wire_hash_step(buffer->hash, return_address);
    if (next <= frame) {
      buffer->falls = buffer->falls + 1;
      if (buffer->falls > kMaxStackChanges) break;
    }
    buffer->frame = next;
  }
  if (event->count >= kMaxFrames && buffer->frame >= kPageBytes) event->flags |= kStackTruncated;
  event->hash = wire_hash_finish(buffer->hash);
}

// Sends buffer->event, whose header is filled in, with the frames that it has. 0 = sent.
static __always_inline long send_stack(struct Scratch* buffer) {
  __u64 count = buffer->event.count;
  if (count > kMaxFrames) count = kMaxFrames;
  __u64 length = __builtin_offsetof(struct WireStackEvent, frames) + count * 8;
  return bpf_ringbuf_output(&events, &buffer->event, length, ring_flags());
}

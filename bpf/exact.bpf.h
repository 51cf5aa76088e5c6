// Every allocation, counted by {stack, type, size class}.
//
//   hit ─▶ size filter ─▶ walk ─▶ size class ─▶ exact_counts entry: add
//                                                  └─ new stack: ring, once
//
// Each counted allocation ends in exactly one entry, whatever fails on the way: without a stack in the entry
// for "stack unknown", without room in the map in the target's entry of last resort, which exists before the
// first hit.
#pragma once

#include "stack.bpf.h"

// Size class of an object of up to 32768 bytes, by the tables that Go's runtime uses; filled in by the
// daemon. https://github.com/golang/go/blob/go1.24.4/src/runtime/sizeclasses.go
const volatile __u8 size_to_class_small[kSmallTableEntries];
const volatile __u8 size_to_class_medium[kMediumTableEntries];
const volatile __u32 size_class_bytes[kSizeClassCount];

static __always_inline __u32 size_class_of(__u64 size) {
  if (size <= kSmallTableLimit) {
    __u64 index = (size + 7) >> 3;
    return index < kSmallTableEntries ? size_to_class_small[index] : 0;
  }
  __u64 index = (size - kSmallTableLimit + 127) >> 7;
  return index < kMediumTableEntries ? size_to_class_medium[index] : 0;
}

static __always_inline __u64 slot_bytes_of(__u32 size_class, __u64 size) {
  // One comparison per look-up: "x > 0 && x < n" compiles to a comparison of x - 1, from which the verifier of Linux
  // 6.12 and older learns nothing about x. Class 0, which large objects have, stands for 0 bytes in the table.
  __u32 bytes = size_class < kSizeClassCount ? size_class_bytes[size_class] : 0;
  return bytes ? bytes : (size + 8191) & ~8191ULL;  // a large object has whole pages
}

// Has the type no pointers? Read from the type where the site does not already say.
static __always_inline int is_noscan(const struct Hit* hit, __u64 type) {
  if (site_flags(hit->cookie) & kSiteNoscan) return 1;
  if (site_flags(hit->cookie) & kSiteScan) return 0;
  if (!type) return 1;
  __u64 ptr_bytes;
  read_word(hit, type + hit->target->type_ptr_bytes, &ptr_bytes);
  return ptr_bytes == 0;
}

// True once the daemon will get, or has got, the stack in `buffer`.
static __always_inline int ship_stack(struct Scratch* buffer, const struct Hit* hit) {
  struct WireStackKey key = {.stack_hash = buffer->event.hash, .session = hit->target->session};
  if (bpf_map_lookup_elem(&shipped_stacks, &key)) return 1;
  fill_header(&buffer->event.header, kEventExactStack, key.session);
  buffer->event.address = 0;
  buffer->event.size = 0;
  buffer->event.goid = 0;
  if (send_stack(buffer)) {
    count_loss(hit->target_index, kLossStackRingFull);
    return 0;
  }
  // Marked after it was sent: a mark without a stack would lose it for good, two threads sending it twice is
  // harmless.
  __u32 mark = 1;
  if (bpf_map_update_elem(&shipped_stacks, &key, &mark, BPF_ANY))
    count_loss(hit->target_index, kLossStacksFull);
  return 1;
}

static __always_inline struct WireExactValue* exact_entry(const struct WireExactKey* key,
                                                          const struct Hit* hit, __u64 type,
                                                          int noscan_known) {
  struct WireExactValue* value = bpf_map_lookup_elem(&exact_counts, key);
  if (value) return value;
  // The flag is read once per entry, not once per object. Only this CPU's part of the entry gets it: the
  // daemon ORs.
  struct WireExactValue zero = {.flags = noscan_known || is_noscan(hit, type) ? kExactNoscan : 0};
  bpf_map_update_elem(&exact_counts, key, &zero,
                      BPF_NOEXIST);  // may fail because another CPU was faster: look again
  return bpf_map_lookup_elem(&exact_counts, key);
}

// Did the function call that has already counted this allocation? One function per target can be so: mallocgc, where a
// profile-guided build has put copies of the functions that it otherwise calls into it.
static __always_inline int called_from_ignored(struct pt_regs* ctx, const struct Hit* hit) {
  __u64 caller = 0;
#if defined(__TARGET_ARCH_x86)
  __u64 stack_pointer = GO_SP(ctx);
  __u64 frame_pointer = GO_FP(ctx);
  barrier_var(stack_pointer);
  barrier_var(frame_pointer);
  __u64 place = site_flags(hit->cookie) & kSiteOwnFrame ? frame_pointer + 8 : stack_pointer;
  if (!read_word(hit, place, &caller)) return 0;
#else
  if (!(site_flags(hit->cookie) & kSiteOwnFrame))
    caller = GO_LR(ctx);
  else if (!read_word(hit, GO_FP(ctx) + 8, &caller))
    return 0;
#endif
  return caller >= hit->target->ignored_caller_begin && caller < hit->target->ignored_caller_end;
}

// size = first argument, type = second, of any function of the exactly-once set.
static __always_inline void on_malloc(struct pt_regs* ctx, const struct Hit* hit) {
  __u64 size = GO_ARG0(ctx);
  __u64 type = GO_ARG1(ctx);
  if (size <= site_min_size(hit->cookie)) return;
  if ((site_flags(hit->cookie) & kSiteIgnoreCaller) && called_from_ignored(ctx, hit)) return;

  // Before the key is made: the verifier follows each kind of key that is known by then through the whole walk.
  struct Scratch* buffer = take_scratch(hit->target_index);
  if (buffer) walk_stack(ctx, buffer, site_flags(hit->cookie) & kSiteOwnFrame, hit);

  struct WireExactKey key = {.session = hit->target->session, .type = type};
  int noscan_known = 0;
  if (size <= hit->target->max_small) {
    __u64 slot = size;
    if (size > hit->target->header_over) {
      if (is_noscan(hit, type))
        noscan_known = 1;
      else
        slot += 8;
    }
    key.size_class = size_class_of(slot);
    if (size < 16) key.flags = kExactBelowTiny;
  }

  if (buffer) key.stack_hash = buffer->event.hash;
  struct WireExactValue* value = exact_entry(&key, hit, type, noscan_known);
  if (buffer) {
    if (key.stack_hash && value && !(value->flags & kExactStackShipped) && ship_stack(buffer, hit))
      value->flags |= kExactStackShipped;
    release_scratch(buffer);
  }
  int sorted = value != 0;
  if (!sorted) {
    count_loss(hit->target_index, kLossCountsFull);
    __u64 slot_bytes = slot_bytes_of(key.size_class, size);
    key.stack_hash = 0;
    key.type = 0;
    key.size_class = 0;
    key.flags = kExactUnsorted;
    value = bpf_map_lookup_elem(&exact_counts, &key);
    if (!value) return;
    __sync_fetch_and_add(&value->slot_bytes, slot_bytes);
  } else if (key.size_class == 0) {
    __sync_fetch_and_add(&value->slot_bytes, slot_bytes_of(0, size));
  }
  __sync_fetch_and_add(&value->objects, 1);
  __sync_fetch_and_add(&value->requested_bytes, size);
}

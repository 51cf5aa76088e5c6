// The runtime's own sampler, watched from outside.
#pragma once

#include "stack.bpf.h"

// runtime.setprofilebucket(p unsafe.Pointer, b *bucket): a sampled object is linked to its bucket.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mheap.go (func setprofilebucket)
static __always_inline void on_set_profile_bucket(struct pt_regs* ctx, const struct Hit* hit) {
  __u64 goid = goroutine_id(ctx, hit);
  struct WireSampledBirth* event = reserve_event(WireSampledBirth, hit->target_index);
  if (!event) return;
  fill_header(&event->header, kEventSampledBirth, hit->target->session);
  event->address = GO_ARG0(ctx);
  event->bucket = GO_ARG1(ctx);
  event->goid = goid;
  submit_event(event);
}

// runtime.freeSpecial(s *special, p unsafe.Pointer, size uintptr): called by the sweeper for every kind of
// special.
static __always_inline void on_free_special(struct pt_regs* ctx, const struct Hit* hit) {
  __u64 special = GO_ARG0(ctx);
  __u64 kind, bucket;
  if (!read_word(hit, special + hit->target->special_kind, &kind)) return;
  if ((__u8)kind != hit->target->profile_special_kind) return;
  if (!read_word(hit, special + hit->target->special_bucket, &bucket)) return;
  struct WireSampledDeath* event = reserve_event(WireSampledDeath, hit->target_index);
  if (!event) return;
  fill_header(&event->header, kEventSampledDeath, hit->target->session);
  event->address = GO_ARG1(ctx);
  event->bucket = bucket;
  event->size = GO_ARG2(ctx);
  submit_event(event);
}

// runtime.profilealloc(mp *m, x unsafe.Pointer, size uintptr): the sampler has chosen the object x.
static __always_inline void on_profile_alloc(struct pt_regs* ctx, const struct Hit* hit) {
  struct Scratch* buffer = take_scratch(hit->target_index);
  if (!buffer) return;
  struct WireStackEvent* event = &buffer->event;
  walk_stack(ctx, buffer, site_flags(hit->cookie) & kSiteOwnFrame, hit);
  fill_header(&event->header, kEventSampledAllocation, hit->target->session);
  event->address = GO_ARG1(ctx);
  event->size = GO_ARG2(ctx);
  event->goid = goroutine_id(ctx, hit);
  if (send_stack(buffer)) count_loss(hit->target_index, kLossRingFull);
  release_scratch(buffer);
}

// Sampling where the runtime's own sampler is off: which code opens the runs of span classes.
//
//   refill ──▶ cacheSpan ──▶ branch:   run of n slots opens  ─▶ countdown of this P's cache ─▶ nothing, mostly
//                                                                    └─ a point in it: stack walk, event,
//                                                                       open_runs entry
//   GC, per P ──▶ releaseAll:          for each sampled run that is still open: event with what it used
//
// A run that is full needs no word: refill takes a new span only when the old one has no free slot. Most hits end at the
// countdown, so what comes before it is kept short: one read of the span, and nothing that has to be hashed. The
// countdown is the CPU's, since a point process over all bytes may be cut into any number of others. What a cache has
// under way is only ever touched by the P that owns it, or while the world is stopped, so no atomics are needed there.
#pragma once

#include "run_sampler.h"
#include "stack.bpf.h"

enum { kSpanClasses = 2 * kSizeClassCount };

// A field that is narrower than the word it is read with.
static __always_inline int read_bits(const struct Hit* hit, __u64 address, __u64 mask, __u64* value) {
  if (!read_word(hit, address, value)) return 0;
  *value &= mask;
  return 1;
}

// The mcache of the P that the thread runs: g.m.p.mcache. Refilling is only done with a P.
static __always_inline int read_cache(struct pt_regs* ctx, const struct Hit* hit, __u64* cache) {
  __u64 m, p;
  return read_word(hit, GO_G(ctx) + hit->target->g_m, &m) && read_word(hit, m + hit->target->m_p, &p) &&
         read_word(hit, p + hit->target->p_mcache, cache);
}

// Marks a class of a cache, so that releaseAll finds its sampled run. False: no room.
static __always_inline int mark_open(const struct WireRunKey* run, __u32 span_class) {
  struct WireRunKey key = {.owner = run->owner, .session = run->session};
  struct WireSpanCache* cache = bpf_map_lookup_elem(&span_caches, &key);
  if (!cache) {
    struct WireSpanCache fresh = {};
    if (bpf_map_update_elem(&span_caches, &key, &fresh, BPF_NOEXIST)) return 0;
    cache = bpf_map_lookup_elem(&span_caches, &key);
    if (!cache) return 0;
  }
  cache->open[(span_class >> 6) & 3] |= 1ULL << (span_class & 63);
  return 1;
}

// Passes over a run. A thread that takes the CPU from another one in here can undo or repeat a step of the countdown,
// which is then no less random.
static __always_inline int takes_sample(const struct Hit* hit, __u64 bytes, __u64 mean) {
  __u64 countdown = *(volatile __u64*)&hit->statistics->countdown;
  if (!countdown) countdown = exponential_distance(bpf_get_prandom_u32());
  int sampled = run_is_sampled(&countdown, bytes, mean);
  *(volatile __u64*)&hit->statistics->countdown = sampled ? 0 : countdown;
  return sampled;
}

static __always_inline __u64 present_mean(const struct Hit* hit) {
  return mean_in_burst(*(volatile const __u64*)&hit->target->mean_distance, hit->target->burst_distance,
                       *(volatile const __u64*)&hit->statistics->burst_samples);
}

static __always_inline void count_burst(const struct Hit* hit, __u64 now) {
  struct WireStatistics* statistics = hit->statistics;
  if (now - *(volatile __u64*)&statistics->burst_began_ns > kBurstNs) {
    *(volatile __u64*)&statistics->burst_began_ns = now;
    *(volatile __u64*)&statistics->burst_samples = 0;
  }
  __sync_fetch_and_add(&statistics->burst_samples, 1);
}

// The part of an mspan that every hit needs, in one read: each costs as much as all else. The buffer is on the stack,
// where old kernels want constant offsets, hence the ladder.
static __always_inline __u64 window_bits(const __u64* words, __u32 bit, __u64 mask) {
  __u64 word = words[0];
#pragma unroll
  for (__u32 i = 1; i < kSpanWindowWords; i++) {
    if (bit >> 6 == i) word = words[i];
  }
  return word >> (bit & 63) & mask;
}

static __always_inline __u32 first_one(__u64 word) {
  __u32 place = 0;
  for (__u32 step = 32; step != 0; step >>= 1) {
    if (!(word & ((1ULL << step) - 1))) {
      word >>= step;
      place += step;
    }
  }
  return place;
}

// Index of the slot that a span which has just been cached hands out first: allocCache holds a one for each free slot
// from freeindex on, up to the end of its 64; behind that allocBits tells, by zeros.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mbitmap.go (func nextFreeIndex)
static __always_inline int first_free_slot(const struct Hit* hit, __u64 span, __u64 slots, __u64* slot) {
  const struct WireTarget* target = hit->target;
  __u64 next, free, bits;
  if (!read_bits(hit, span + target->span_freeindex, target->span_index_mask, &next) ||
      !read_word(hit, span + target->span_alloc_cache, &free))
    return 0;
  if (free) {
    *slot = next + first_one(free);
    return 1;
  }
  if (!read_word(hit, span + target->span_alloc_bits, &bits)) return 0;
  __u64 word = next / 64;
  for (__u32 i = 0; i < kMostSpanWords; i++) {
    word++;
    if (word * 64 >= slots || !read_word(hit, bits + word * 8, &free)) return 0;
    free = ~free;
    if (free) {
      *slot = word * 64 + first_one(free);
      return 1;
    }
  }
  return 0;
}

// Walks the stack and sends the event of a sampled run. The time that names the run, 0 = it could not be sent.
static __always_inline __u64 send_run(struct pt_regs* ctx, const struct Hit* hit, __u64 address, __u64 bytes,
                                      __u32 objects, __u32 span_class, __u64 mean) {
  const struct WireTarget* target = hit->target;
  __u64 sweepgen;
  if (!read_bits(hit, target->sweepgen_address, 0xffffffff, &sweepgen)) return 0;
  __u64 goid = goroutine_id(ctx, hit);
  struct Scratch* buffer = take_scratch(hit->target_index);
  if (!buffer) return 0;
  struct WireStackEvent* event = &buffer->event;
  walk_stack(ctx, buffer, site_flags(hit->cookie) & kSiteOwnFrame, hit);
  fill_header(&event->header, kEventSpanRunOpened, target->session);
  count_burst(hit, event->header.time_ns);
  event->address = address;
  event->size = bytes;
  event->goid = goid;
  event->mean_distance = mean;
  event->sweepgen = sweepgen;
  event->objects = objects;
  event->span_class = span_class;
  __u64 time_ns = event->header.time_ns;
  if (send_stack(buffer)) {
    count_loss(hit->target_index, kLossRingFull);
    time_ns = 0;
  }
  release_scratch(buffer);
  return time_ns;
}

// (*mcentral).cacheSpan() has returned a span: the P's cache takes objects of its class from it now.
static __always_inline void on_span_refill(struct pt_regs* ctx, const struct Hit* hit) {
  const struct WireTarget* target = hit->target;
  __u64 span = GO_ARG0(ctx);
  if (!span) return;  // out of memory: the program is about to end
  __u64 words[kSpanWindowWords];
  if (bpf_probe_read_user(words, sizeof(words), (void*)(span + target->span_window))) {
    count_loss(hit->target_index, kLossMemoryRead);
    return;
  }
  __u64 slots = window_bits(words, target->span_nelems_bit, target->span_index_mask);
  __u64 used = window_bits(words, target->span_alloc_count_bit, 0xffff);
  __u64 span_class = window_bits(words, target->span_class_bit, 0xff);
  if (used >= slots) return;
  __u32 size_class = span_class >> 1;
  // Else newer compilers compare the span class and scale it in one step, of which the verifier loses the bound.
  barrier_var(size_class);
  if (size_class >= kSizeClassCount) return;
  __u64 slot_bytes = size_class_bytes[size_class];
  __u64 mean = present_mean(hit);
  if (!takes_sample(hit, (slots - used) * slot_bytes, mean)) return;

  __u64 start, slot;
  struct WireRunKey key = {.session = target->session};
  if (!read_word(hit, span + target->span_start, &start) || !read_cache(ctx, hit, &key.owner)) return;
  if (!first_free_slot(hit, span, slots, &slot)) {
    count_loss(hit->target_index, kLossMemoryRead);
    return;
  }
  struct WireOpenRun run = {.span = span, .address = start + slot * slot_bytes, .used_before = used};
  run.opened_ns = send_run(ctx, hit, run.address, slot_bytes, slots - used, span_class, mean);
  if (!run.opened_ns) return;
  int known = 1;
  if (target->releases_by_span) {
    key.owner = span;
  } else {
    known = mark_open(&key, span_class);
    key.span_class = span_class;
  }
  if (!known || bpf_map_update_elem(&open_runs, &key, &run, BPF_ANY))
    count_loss(hit->target_index, kLossSpanStateFull);
}

// (*mheap).alloc() has returned the span of a large object.
static __always_inline void on_span_large(struct pt_regs* ctx, const struct Hit* hit) {
  const struct WireTarget* target = hit->target;
  __u64 span = GO_ARG0(ctx);
  if (!span) return;
  __u64 bytes, span_class, start;
  if (!read_word(hit, span + target->span_elemsize, &bytes) ||
      !read_bits(hit, span + target->span_class, 0xff, &span_class) ||
      !read_word(hit, span + target->span_start, &start))
    return;
  __u64 mean = present_mean(hit);
  if (!takes_sample(hit, bytes, mean)) return;
  send_run(ctx, hit, start, bytes, 1, span_class, mean);
}

// Tells what a run has handed out that its span was taken from.
static __always_inline void cut_run(const struct Hit* hit, const struct WireOpenRun* run) {
  __u64 used;
  if (!read_bits(hit, run->span + hit->target->span_alloc_count, 0xffff, &used)) return;
  struct WireSpanRunCut* event = reserve_event(WireSpanRunCut, hit->target_index);
  if (!event) return;
  fill_header(&event->header, kEventSpanRunCut, hit->target->session);
  event->address = run->address;
  event->opened_ns = run->opened_ns;
  event->used_objects = used - run->used_before;
  event->reserved = 0;
  submit_event(event);
}

// (*mcache).releaseAll(c): all spans of a cache go back, full or not. A sampled run whose span is no longer the cache's was
// full; it cannot have come back since, because the sweep that empties it comes after this. Belongs to the collector's
// cycles: runs that were opened in a slice are cut when no other probe is in.
static __always_inline void on_span_release(struct pt_regs* ctx, const struct Hit* hit) {
  struct WireRunKey key = {.owner = GO_ARG0(ctx), .session = hit->target->session};
  struct WireSpanCache* cache = bpf_map_lookup_elem(&span_caches, &key);
  if (!cache || !(cache->open[0] | cache->open[1] | cache->open[2])) return;
  for (__u32 span_class = 0; span_class < kSpanClasses; span_class++) {
    if (!(cache->open[(span_class >> 6) & 3] >> (span_class & 63) & 1)) continue;
    key.span_class = span_class;
    struct WireOpenRun* run = bpf_map_lookup_elem(&open_runs, &key);
    __u64 span;
    if (run && read_word(hit, key.owner + hit->target->mcache_alloc + 8ULL * span_class, &span) &&
        span == run->span)
      cut_run(hit, run);
  }
  cache->open[0] = cache->open[1] = cache->open[2] = 0;
}

// (*mcentral).uncacheSpan(c, s): a span leaves a cache, be it full or taken back. Used where releaseAll cannot be probed.
// It is hit as often as refills are, so in slices it comes and goes with them: there, runs that are open at the end of one
// count as if they were filled.
static __always_inline void on_span_uncache(struct pt_regs* ctx, const struct Hit* hit) {
  struct WireRunKey key = {.owner = GO_ARG1(ctx), .session = hit->target->session};
  struct WireOpenRun* run = bpf_map_lookup_elem(&open_runs, &key);
  if (!run) return;
  cut_run(hit, run);
  bpf_map_delete_elem(&open_runs, &key);
}

#include "daemon/probe/decoder.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "bpf/wire.h"

namespace goheapd::probe {
namespace {

using Decoded = tl::expected<DecodedEvent, DecodeError>;

tl::unexpected<DecodeError> reject(DecodeError error) { return tl::unexpected<DecodeError>(error); }

pid_t pid_of(const wire::WireHeader& header) { return static_cast<pid_t>(header.tgid); }

DecodedEvent of_target(const wire::WireHeader& header, model::Event event) {
  return DecodedEvent{header.session, std::move(event)};
}

Decoded decode_birth(ByteView record) {
  const auto event = record.read<wire::WireSampledBirth>(0);
  if (!event) return reject(DecodeError::too_short);
  return of_target(event->header, model::SampledBirth{pid_of(event->header), event->header.time_ns,
                                                      event->address, event->bucket, event->goid});
}

Decoded decode_death(ByteView record) {
  const auto event = record.read<wire::WireSampledDeath>(0);
  if (!event) return reject(DecodeError::too_short);
  return of_target(event->header, model::SampledDeath{pid_of(event->header), event->header.time_ns,
                                                      event->address, event->bucket, event->size});
}

Decoded decode_flush(ByteView record) {
  const auto event = record.read<wire::WireProfileFlush>(0);
  if (!event) return reject(DecodeError::too_short);
  return of_target(event->header, model::GcProfileFlush{pid_of(event->header), event->header.time_ns,
                                                        event->post_sweep != 0});
}

static_assert(model::kGcParts == wire::kGcParts);
static_assert(+model::kGcController == +wire::kGcController);

Decoded decode_gc_cycle(ByteView record) {
  const auto event = record.read<wire::WireGcCycle>(0);
  if (!event) return reject(DecodeError::too_short);
  model::GcCycleMemory memory{pid_of(event->header), event->header.time_ns, {}, 0, {}};
  if (event->start.session == event->header.session) {
    const auto bytes = std::as_bytes(std::span(event->start.controller));
    memory.start_ns = event->start.time_ns;
    memory.controller_at_start.assign(bytes.begin(), bytes.end());
  }
  for (size_t i = 0; i < memory.parts.size(); ++i) {
    const auto bytes = std::as_bytes(std::span(event->parts[i]));
    memory.parts[i].assign(bytes.begin(), bytes.end());
  }
  return of_target(event->header, std::move(memory));
}

Decoded decode_world_stop(ByteView record) {
  const auto event = record.read<wire::WireWorldStop>(0);
  if (!event) return reject(DecodeError::too_short);
  model::WorldStop stop{pid_of(event->header), event->header.time_ns, event->stop.began_ns, {}, {}};
  if (event->stop.reason != kStopReasonByText) {
    stop.reason = event->stop.reason;
  } else {
    const size_t length = std::min<size_t>(event->stop.text_length, wire::kStopTextBytes);
    stop.text.assign(reinterpret_cast<const char*>(event->stop.text), length);
  }
  return of_target(event->header, std::move(stop));
}

// The fixed part of a stack event; its frames follow.
struct StackPrefix {
  wire::WireHeader header;
  uint64_t address;
  uint64_t size;
  uint64_t goid;
  uint64_t hash;
  uint64_t mean_distance;
  uint32_t sweepgen;
  uint32_t objects;
  uint32_t span_class;
  uint32_t reserved;
  uint32_t count;
  uint32_t flags;
};
static_assert(sizeof(StackPrefix) == offsetof(wire::WireStackEvent, frames));

Decoded decode_cut(ByteView record) {
  const auto event = record.read<wire::WireSpanRunCut>(0);
  if (!event) return reject(DecodeError::too_short);
  return of_target(event->header, model::SpanRunCut{pid_of(event->header), event->header.time_ns,
                                                    event->address, event->opened_ns, event->used_objects});
}

Decoded decode_stack(ByteView record) {
  const auto prefix = record.read<StackPrefix>(0);
  if (!prefix) return reject(DecodeError::too_short);
  if (prefix->count > wire::kMaxFrames) return reject(DecodeError::bad_stack);
  const auto frames = record.slice(sizeof(StackPrefix), prefix->count * sizeof(uint64_t));
  if (!frames) return reject(DecodeError::bad_stack);

  std::vector<uint64_t> stack(prefix->count);
  uint64_t hash = wire::kStackHashSeed;
  for (size_t i = 0; i < stack.size(); ++i) {
    stack[i] = *frames->read<uint64_t>(i * sizeof(uint64_t));
    hash = wire::wire_hash_step(hash, stack[i]);
  }
  // An empty stack is one whose first page could not be read; it has no hash.
  if (prefix->hash != (stack.empty() ? 0 : wire::wire_hash_finish(hash)))
    return reject(DecodeError::damaged_stack);

  const bool truncated = (prefix->flags & (wire::kStackTruncated | wire::kStackUnreadable)) != 0;
  if (prefix->header.kind == wire::kEventSpanRunOpened) {
    return of_target(prefix->header, model::SpanRunOpened{.pid = pid_of(prefix->header),
                                                          .time_ns = prefix->header.time_ns,
                                                          .address = prefix->address,
                                                          .span_class = prefix->span_class,
                                                          .object_bytes = prefix->size,
                                                          .planned_objects = prefix->objects,
                                                          .mean_distance = prefix->mean_distance,
                                                          .sweepgen = prefix->sweepgen,
                                                          .goid = prefix->goid,
                                                          .truncated = truncated,
                                                          .stack = std::move(stack)});
  }
  if (prefix->header.kind == wire::kEventExactStack) {
    return DecodedEvent{prefix->header.session,
                        model::ExactStack{pid_of(prefix->header), prefix->hash, truncated, std::move(stack)}};
  }
  return of_target(prefix->header,
                   model::SampledAllocation{pid_of(prefix->header), prefix->header.time_ns, prefix->address,
                                            prefix->size, prefix->goid, truncated, std::move(stack)});
}

}  // namespace

Decoded decode(ByteView record) {
  const auto header = record.read<wire::WireHeader>(0);
  if (!header) return reject(DecodeError::too_short);
  switch (header->kind) {
    case wire::kEventSampledBirth:
      return decode_birth(record);
    case wire::kEventSampledDeath:
      return decode_death(record);
    case wire::kEventSampledAllocation:
    case wire::kEventExactStack:
    case wire::kEventSpanRunOpened:
      return decode_stack(record);
    case wire::kEventSpanRunCut:
      return decode_cut(record);
    case wire::kEventProfileFlush:
      return decode_flush(record);
    case wire::kEventHitStorm:
      return of_target(*header, model::HitStorm{pid_of(*header), header->time_ns});
    case wire::kEventProcessExec:
      return of_target(*header, model::ProcessExec{pid_of(*header), header->time_ns});
    case wire::kEventProcessExit:
      return of_target(*header, model::ProcessExit{pid_of(*header), header->time_ns});
    case wire::kEventGcCycle:
      return decode_gc_cycle(record);
    case wire::kEventGcLeakCheck:
      return of_target(*header, model::GcLeakCheck{pid_of(*header), header->time_ns});
    case wire::kEventWorldStop:
      return decode_world_stop(record);
    default:
      return reject(DecodeError::unknown_kind);
  }
}

size_t kind_index(const DecodedEvent& event) {
  // In the order of model::Event's alternatives; the stack of the exact mode comes last.
  static_assert(std::variant_size_v<model::Event> + 1 == kEventKindNames.size());
  if (const auto* known = std::get_if<model::Event>(&event.value)) return known->index();
  return kEventKindNames.size() - 1;
}

}  // namespace goheapd::probe

// Ring bytes -> values. The only reader of wire events; everything behind it can be tested with plain values.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <variant>

#include "daemon/base/byte_view.h"
#include "daemon/base/expected.h"
#include "daemon/model/event.h"

namespace goheapd::probe {

struct DecodedEvent {
  uint32_t session = 0;  // of the target that it belongs to, 0 = none
  std::variant<model::Event, model::ExactStack> value;
};

enum class DecodeError : unsigned char {
  too_short,  // shorter than its kind
  unknown_kind,
  bad_stack,      // frame count beyond the record or the limit
  damaged_stack,  // frames do not have the hash that names them: overwritten on their way
};
inline constexpr std::array<std::string_view, 4> kDecodeErrorNames = {"record_too_short", "unknown_record",
                                                                      "bad_stack", "damaged_stack"};

tl::expected<DecodedEvent, DecodeError> decode(ByteView record);

// Kinds of events, as label values; index = position in names.
inline constexpr std::array<std::string_view, 13> kEventKindNames = {
    "sampled_birth", "sampled_death", "sampled_allocation", "gc_profile_flush", "hit_storm",
    "process_exec",  "process_exit",  "span_run_opened",    "span_run_cut",     "gc_cycle",
    "gc_leak_check", "world_stop",    "exact_stack"};
size_t kind_index(const DecodedEvent& event);

}  // namespace goheapd::probe

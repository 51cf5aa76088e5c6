// What the eBPF programs are told of a target, made from the request to attach to it.
#pragma once

#include <cstdint>

#include "bpf/wire.h"
#include "daemon/base/expected.h"
#include "daemon/probe/attach_request.h"

namespace goheapd::probe {

// A target of which nothing is recorded yet.
wire::WireTarget wire_target(const AttachRequest& request, uint32_t session);
// Adds what the group spans needs to know, if it is asked for. Errors: the span's fields lie too far apart.
Expected<void> set_spans(wire::WireTarget& target, const AttachRequest& request);
// Adds the range of callers that points of the exact group ignore.
void set_ignored_caller(wire::WireTarget& target, const AttachRequest& request);

// As bits of WireTarget::recording.
uint32_t wire_groups(ProbeGroups groups);
// One of the request's points is of the group.
bool wants(const AttachRequest& request, ProbeGroup group);

}  // namespace goheapd::probe

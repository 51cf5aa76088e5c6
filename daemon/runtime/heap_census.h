// Chooses, of all objects that a heap holds now, some of each size class at random. Who follows them sees how much of what
// was there lives on, without having seen any of it come.
//
//   mheap.allspans ──▶ mspan ──▶ slot i is taken:  i < freeindex, or its bit is set in allocBits
//                                and not garbage:  its span is swept, or its mark is set
//
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mbitmap.go#L1175
#pragma once

#include <cstddef>

#include "daemon/base/expected.h"
#include "daemon/model/liveness.h"
#include "daemon/runtime/runtime_view.h"

namespace goheapd::runtime {

// At most about `most_objects`, of each class as many as its bytes ask for. Spans that change while they are looked at are
// passed over. Takes some milliseconds.
// Errors: the process is gone or was replaced, or its table of spans cannot be read.
Expected<model::HeapCensus> take_census(const RuntimeView& view, size_t most_objects);

}  // namespace goheapd::runtime

#include "daemon/profile/site_classifier.h"

#include <array>
#include <bitset>

namespace goheapd::profile {
namespace {

using model::AllocationKind;

struct Rule {
  std::string_view prefix;
  AllocationKind kind;
};

// Function name prefixes of Go 1.19 to 1.27 and what their presence in the runtime block means. Where an
// older and a newer runtime do the same under different names, both stand here; names never changed their
// meaning.
constexpr std::array kRules = std::to_array<Rule>({
    // Maps: swiss maps from 1.24, hash buckets before.
    {"runtime.mapassign", AllocationKind::map_growth},
    {"runtime.hashGrow", AllocationKind::map_growth},
    {"runtime.evacuate", AllocationKind::map_growth},
    {"runtime.growWork", AllocationKind::map_growth},
    {"runtime.(*hmap).newoverflow", AllocationKind::map_growth},
    {"runtime.(*hmap).createOverflow", AllocationKind::map_growth},
    {"runtime.mapclone", AllocationKind::map_growth},
    {"internal/runtime/maps.(*Map).growTo", AllocationKind::map_growth},
    {"internal/runtime/maps.(*Map).PutSlot", AllocationKind::map_growth},
    {"internal/runtime/maps.(*Map).putSlot", AllocationKind::map_growth},
    {"internal/runtime/maps.(*table).rehash", AllocationKind::map_growth},
    {"internal/runtime/maps.(*table).grow", AllocationKind::map_growth},
    {"internal/runtime/maps.(*table).split", AllocationKind::map_growth},
    {"internal/runtime/maps.runtime_mapassign", AllocationKind::map_growth},
    {"runtime.makemap", AllocationKind::map},
    {"reflect.makemap", AllocationKind::map},
    {"runtime.makeBucketArray", AllocationKind::map},
    {"internal/runtime/maps.New", AllocationKind::map},
    {"internal/runtime/maps.new", AllocationKind::map},
    {"runtime.makechan", AllocationKind::channel},
    {"reflect.makechan", AllocationKind::channel},
    {"runtime.newproc", AllocationKind::goroutine},
    {"runtime.malg", AllocationKind::goroutine},
    {"runtime.allocm", AllocationKind::goroutine},
    {"runtime.concatstring", AllocationKind::string},
    {"runtime.concatbyte", AllocationKind::string},
    {"runtime.slicebytetostring", AllocationKind::string},
    {"runtime.stringtoslice", AllocationKind::string},
    {"runtime.slicerunetostring", AllocationKind::string},
    {"runtime.intstring", AllocationKind::string},
    {"runtime.rawstring", AllocationKind::string},
    {"runtime.rawbyteslice", AllocationKind::string},
    {"runtime.rawruneslice", AllocationKind::string},
    {"runtime.gostring", AllocationKind::string},
    {"internal/bytealg.MakeNoZero", AllocationKind::string},
    {"runtime.conv", AllocationKind::interface},
    {"runtime.growslice", AllocationKind::slice_growth},
    {"reflect.growslice", AllocationKind::slice_growth},
    {"reflect.Value.grow", AllocationKind::slice_growth},
    {"runtime.makeslice", AllocationKind::slice},
    {"runtime.newarray", AllocationKind::slice},
    {"runtime.moveSlice", AllocationKind::slice},
    {"reflect.unsafe_NewArray", AllocationKind::slice},
    {"runtime.newobject", AllocationKind::object},
    {"reflect.unsafe_New", AllocationKind::object},
    {"internal/reflectlite.unsafe_New", AllocationKind::object},
    // 1.27: compiled code calls these directly for small objects of constant size; slices and maps reach them
    // through the functions above, which take precedence.
    {"runtime.mallocgcSmallScanNoHeaderSC", AllocationKind::object},
    {"runtime.mallocgcSmallNoScanSC", AllocationKind::object},
    {"runtime.mallocgcTinySC", AllocationKind::object},
});

// The order in which kinds win when several are seen in one block.
constexpr std::array kPrecedence = {
    AllocationKind::map_growth,   AllocationKind::map,    AllocationKind::channel,
    AllocationKind::goroutine,    AllocationKind::string, AllocationKind::interface,
    AllocationKind::slice_growth, AllocationKind::slice,  AllocationKind::object};

}  // namespace

bool is_runtime_function(std::string_view function) {
  return function.starts_with("runtime.") || function.starts_with("internal/runtime/") ||
         function.starts_with("internal/bytealg.") || function.starts_with("reflect.") ||
         function.starts_with("internal/reflectlite.");
}

AllocationSite classify(std::span<const std::string_view> functions, bool is_closure) {
  AllocationSite site;
  std::bitset<model::kAllocationKinds> seen;
  for (std::string_view function : functions) {
    site.function = function;
    if (!is_runtime_function(function)) break;
    for (const Rule& rule : kRules) {
      if (function.starts_with(rule.prefix)) {
        seen.set(static_cast<size_t>(rule.kind));
        break;
      }
    }
  }
  for (AllocationKind kind : kPrecedence) {
    if (!seen.test(static_cast<size_t>(kind))) continue;
    site.kind = kind == AllocationKind::object && is_closure ? AllocationKind::closure : kind;
    break;
  }
  return site;
}

}  // namespace goheapd::profile

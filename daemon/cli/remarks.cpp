#include "daemon/cli/remarks.h"

namespace goheapd::cli {
namespace {

// Mode exact counts what is allocated and does not learn what is freed.
bool knows_no_live_heap(model::Mode mode, bool live_heap) { return mode == model::Mode::exact && !live_heap; }

}  // namespace

std::optional<std::string> remark_on_live_heap(model::Mode mode, bool live_heap) {
  // The others have it anyway, and auto keeps it where it moves a program to exact.
  if (!live_heap || mode == model::Mode::exact) return std::nullopt;
  return "--live-heap is for mode exact and changes nothing in mode " + std::string(model::name_of(mode)) +
         ", which has the live heap anyway";
}

std::optional<std::string> remark_on_recording(model::Mode mode, bool live_heap, const std::string& type) {
  if (type != "heap" || !knows_no_live_heap(mode, live_heap)) return std::nullopt;
  return "mode exact does not see what is freed, so nothing will be in use in this profile: --live-heap has "
         "that sampled beside the counts, --type allocs is about what is allocated";
}

std::string command_to_look_at(const std::string& file, model::Mode mode, bool live_heap) {
  const char* const shown = knows_no_live_heap(mode, live_heap) ? "-sample_index=alloc_space " : "";
  return std::string("go tool pprof -top ") + shown + file;
}

}  // namespace goheapd::cli

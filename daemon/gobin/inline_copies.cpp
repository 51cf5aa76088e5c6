#include "daemon/gobin/inline_copies.h"

namespace goheapd::gobin {

InlineCopies InlineCopies::find(const Pclntab& pclntab, const Symbolizer& symbolizer,
                                const RuntimeLayout& layout, uint32_t member) {
  InlineCopies copies;
  // Functions of one package share the place of their file names in the cutab.
  const auto unit_of = [&](uint32_t index) -> std::optional<uint64_t> {
    const auto record = pclntab.record(index);
    return record ? read_field(*record, layout.func.cu_offset) : std::nullopt;
  };
  const auto unit = unit_of(member);
  if (!unit) return copies;
  for (uint32_t index = 0; index < pclntab.function_count(); ++index) {
    if (unit_of(index) != unit) continue;
    const std::string_view host = pclntab.name(index).value_or(std::string_view());
    for (std::string_view function : symbolizer.functions_inlined_into(index)) copies.add(function, host);
  }
  return copies;
}

std::span<const std::string_view> InlineCopies::hosts_of(std::string_view function) const {
  const auto found = hosts_.find(function);
  if (found == hosts_.end()) return {};
  return found->second;
}

}  // namespace goheapd::gobin

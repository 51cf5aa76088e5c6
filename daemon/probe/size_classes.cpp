#include "daemon/probe/size_classes.h"

namespace goheapd::probe {

SizeClassTables make_size_class_tables(std::span<const uint32_t, wire::kSizeClassCount> bytes) {
  const auto class_for = [bytes](size_t size) {
    size_t size_class = 1;
    while (size_class + 1 < bytes.size() && bytes[size_class] < size) ++size_class;
    return static_cast<uint8_t>(size_class);
  };
  SizeClassTables tables;
  for (size_t index = 0; index < tables.small.size(); ++index) tables.small[index] = class_for(index * 8);
  for (size_t index = 0; index < tables.medium.size(); ++index)
    tables.medium[index] = class_for(wire::kSmallTableLimit + index * 128);
  return tables;
}

}  // namespace goheapd::probe

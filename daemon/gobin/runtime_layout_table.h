// How the tables behind RuntimeLayout are written down, and the one loop that reads them.
//
// clang-format off
//   {"nelems", &Mspan::nelems, {{19, 56, 8, 405}, {22, 50, 2, 427}}},
//                                |   |   |  `- declared in line 405 of the struct's file in the measured 1.19 release
//                                |   |   `---- 8 bytes wide
//                                |   `-------- at offset 56
//                                `------------ in Go 1.19 and later, until the next group: here 1.22
// clang-format on
//
// A fifth number is the offset on arm64 where it differs (only behind cache-line padding, which is 64 bytes
// on amd64 and 128 on arm64). A group of the minor version alone, {27}, says that the field is gone from then
// on. A name "new|old" tells what Go called the field before.
#pragma once

#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

#include "daemon/gobin/runtime_layout.h"

namespace goheapd::gobin::layout_table {

inline constexpr int kGroups = 8;

struct Since {
  int minor = 0;  // 0 = unused
  uint32_t offset = 0;
  uint32_t size = 0;
  uint32_t line = 0;
  uint32_t arm64_offset = 0;  // 0 = as on amd64
};

struct SizeSince {
  int minor = 0;
  uint32_t size = 0;
  uint32_t line = 0;
  uint32_t arm64_size = 0;
};

struct FileSince {
  int minor = 0;
  const char* path = nullptr;  // below Go's src/
};

template <typename Struct>
struct FieldRow {
  const char* names;  // Go's name; "new|old" where Go renamed the field
  Field Struct::*field;
  Since groups[kGroups];
};

template <typename Struct>
struct StructTable {
  const char* name;
  FileSince files[2];
  SizeSince sizes[kGroups];
  std::span<const FieldRow<Struct>> fields;
};

// The group that holds in Go 1.`minor`: the last one that began by then. nullptr: the field did not exist
// yet.
template <typename Group, size_t N>
const Group* group_for(const Group (&groups)[N], int minor) {
  const Group* found = nullptr;
  for (const Group& group : groups) {
    if (group.minor == 0 || group.minor > minor) break;
    found = &group;
  }
  return found;
}

// "https://github.com/golang/go/blob/go1.24.4/src/runtime/mheap.go#L402".
std::string source_link(int measured_minor, std::string_view path, uint32_t line);

template <typename Struct>
void fill(const StructTable<Struct>& table, int minor, Arch arch, Struct& out) {
  const bool arm64 = arch == Arch::arm64;
  if (const SizeSince* size = group_for(table.sizes, minor)) {
    out.sizeof_struct = arm64 && size->arm64_size != 0 ? size->arm64_size : size->size;
  }
  for (const FieldRow<Struct>& row : table.fields) {
    if (const Since* group = group_for(row.groups, minor)) {
      const uint32_t offset = arm64 && group->arm64_offset != 0 ? group->arm64_offset : group->offset;
      out.*row.field = Field{offset, group->size};
    }
  }
}

template <typename Struct>
void describe(const StructTable<Struct>& table, int minor, const Struct& values,
              std::vector<FieldDescription>& out) {
  const auto link = [&](int since, uint32_t line) {
    const FileSince* file = group_for(table.files, since);
    return file == nullptr ? std::string() : source_link(since, file->path, line);
  };
  const SizeSince* size = group_for(table.sizes, minor);
  if (size == nullptr || values.sizeof_struct == 0) return;
  out.push_back({table.name, 0, values.sizeof_struct, link(size->minor, size->line)});
  for (const FieldRow<Struct>& row : table.fields) {
    const Field field = values.*row.field;
    const Since* group = group_for(row.groups, minor);
    if (group == nullptr || !field.present()) continue;
    out.push_back({std::string(table.name) + "." + row.names, field.offset, field.size,
                   link(group->minor, group->line)});
  }
}

// The tables, one function per theme: each fills its structs of `layout` when `descriptions` is nullptr, else
// describes what is in them.
void visit_heap(RuntimeLayout& layout, std::vector<FieldDescription>* descriptions);
void visit_scheduler(RuntimeLayout& layout, std::vector<FieldDescription>* descriptions);
void visit_statistics(RuntimeLayout& layout, std::vector<FieldDescription>* descriptions);
void visit_modules(RuntimeLayout& layout, std::vector<FieldDescription>* descriptions);

// One struct of one theme.
template <typename Struct>
void visit(const StructTable<Struct>& table, RuntimeLayout& layout, Struct& values,
           std::vector<FieldDescription>* descriptions) {
  if (descriptions == nullptr) {
    fill(table, layout.minor, layout.arch, values);
  } else {
    describe(table, layout.minor, values, *descriptions);
  }
}

}  // namespace goheapd::gobin::layout_table

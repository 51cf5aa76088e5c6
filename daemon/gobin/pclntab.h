// The function table that every Go binary carries for its own stack traces ("pclntab"), as written by Go 1.18
// and later. Everything that does not depend on the exact Go version is read here; Symbolizer does the rest.
//
//   header ─┬▶ function names   NUL-terminated, addressed by offset
//           ├▶ cutab            per compilation unit: file number -> offset in the file table
//           ├▶ file names       NUL-terminated
//           ├▶ pctab            delta-coded tables "value from pc to pc": line, file, inline index, ...
//           └▶ functab          {entry offset, record offset} by address, then the records (_func) themselves
//
// Offsets of code are relative to the start of the Go text, which from Go 1.26 on only moduledata knows.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/symtab.go#L374
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "daemon/base/byte_view.h"
#include "daemon/base/expected.h"

namespace goheapd::gobin {

// From offsets in the function table to link-time addresses and back. A text that the linker had to split has
// several sections; nearly all programs have one.
class TextMap {
 public:
  struct Section {
    uint64_t offset_start = 0;  // [start, end) in offsets
    uint64_t offset_end = 0;
    uint64_t address = 0;
  };
  TextMap() = default;
  // `sections` are used only if there are several, as the runtime does.
  explicit TextMap(uint64_t text_start, std::vector<Section> sections = {});

  uint64_t address_of(uint64_t offset) const;
  std::optional<uint64_t> offset_of(uint64_t address) const;

 private:
  uint64_t text_start_ = 0;
  std::vector<Section> sections_;
};

class Pclntab {
 public:
  static constexpr uint64_t kHeaderBytes = 72;

  // What the header says, checked for plausibility only.
  struct Header {
    uint64_t functions = 0;
    uint64_t text_start = 0;  // 0 from Go 1.26 on
    uint64_t function_names = 0;
    uint64_t cutab = 0;
    uint64_t file_names = 0;
    uint64_t pctab = 0;
    uint64_t functab = 0;
    uint8_t instruction_quantum = 1;  // 1 on amd64, 4 on arm64
  };
  // Reads and checks a header at the start of `bytes`, which reach to the end of what may belong to the
  // table.
  static Expected<Header> read_header(ByteView bytes);

  // `bytes` begin with the header at link-time address `vaddr`. Errors: header broken, functab not sorted.
  static Expected<Pclntab> parse(ByteView bytes, uint64_t vaddr, TextMap text);

  uint64_t vaddr() const { return vaddr_; }
  size_t function_count() const { return functions_; }
  uint8_t instruction_quantum() const { return quantum_; }
  const TextMap& text() const { return text_; }

  // Link-time [lowest entry, end of the last function).
  uint64_t lowest_pc() const { return lowest_pc_; }
  uint64_t end_pc() const { return end_pc_; }

  // Index of the function that covers pc: the last one that starts at or before it.
  std::optional<uint32_t> index_of_pc(uint64_t pc) const;
  // Entry of function `index` and the entry of the next, nullopt beyond the last.
  struct Range {
    uint64_t entry = 0;
    uint64_t end = 0;
  };
  std::optional<Range> range(uint32_t index) const;
  // The function's record (_func) and what follows it.
  std::optional<ByteView> record(uint32_t index) const;
  std::optional<std::string_view> name(uint32_t index) const;
  // Index by full name ("runtime.(*mcentral).uncacheSpan"): walks all functions.
  std::optional<uint32_t> find(std::string_view name) const;

  std::optional<std::string_view> name_at(uint64_t name_offset) const { return names_.c_string(name_offset); }
  // Name of file number `file` of the compilation unit at cutab offset `unit`.
  std::optional<std::string_view> file_name(uint32_t unit, uint32_t file) const;
  // Value at `pc_delta` bytes after the function's entry of the table at pctab offset `table`; -1 where the
  // table does not exist or does not reach that far (the runtime's convention).
  int32_t pc_value(uint32_t table, uint64_t pc_delta) const;
  // The highest value of that table; -1 where there is none.
  int32_t highest_pc_value(uint32_t table) const;

 private:
  Pclntab() = default;
  std::optional<uint64_t> entry_offset(uint64_t index) const;

  uint64_t vaddr_ = 0;
  uint64_t functions_ = 0;
  uint8_t quantum_ = 1;
  TextMap text_;
  uint64_t lowest_pc_ = 0;
  uint64_t end_pc_ = 0;
  ByteView names_;
  ByteView cutab_;
  ByteView files_;
  ByteView pctab_;
  ByteView functab_;  // with the records behind it
};

}  // namespace goheapd::gobin

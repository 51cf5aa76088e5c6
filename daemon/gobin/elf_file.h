// The parts of an ELF64 little-endian executable that matter for a Go program. Written for files that nobody
// vouches for: section headers may be missing or lie, so everything essential comes from program headers.
//
//   file bytes   [ ehdr | phdrs | ...... text ...... | ... data ... | (shdrs) ]
//                           │             │
//   vaddr space             └─ PT_LOAD ──▶ bytes(vaddr, length)      only what the file backs (not .bss)
//                           └─ PT_DYNAMIC ─▶ DT_RELA ─▶ relocated()  pointers as the loader leaves them at bias 0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "daemon/base/byte_view.h"
#include "daemon/base/expected.h"

namespace goheapd::gobin {

// Type of the note with owner "Go" that holds the linker's build id.
inline constexpr uint32_t kNoteGoBuildId = 4;

struct ElfSegment {
  uint64_t vaddr = 0;
  uint64_t offset = 0;
  uint64_t file_size = 0;
  uint64_t memory_size = 0;
  bool writable = false;
  bool executable = false;
};

struct ElfSection {
  std::string_view name;
  uint32_t type = 0;
  uint32_t link = 0;
  uint64_t address = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
};

class ElfFile {
 public:
  static constexpr uint16_t kMachineAmd64 = 62;   // EM_X86_64
  static constexpr uint16_t kMachineArm64 = 183;  // EM_AARCH64

  // `file` must outlive the ElfFile. Errors: not ELF, 32 bit, big endian, not an executable, no segments.
  static Expected<ElfFile> parse(ByteView file);

  uint16_t machine() const { return machine_; }
  bool position_independent() const { return position_independent_; }
  uint64_t entry() const { return entry_; }
  // PT_LOAD segments in file order.
  std::span<const ElfSegment> loads() const { return loads_; }
  // Vaddr at which file offset 0 is (or would be) loaded.
  uint64_t load_base() const { return loads_.front().vaddr - loads_.front().offset; }

  bool has_section_headers() const { return !sections_.empty(); }
  const ElfSection* section(std::string_view name) const;
  bool has_symbol_table() const;
  // Calls visit(name, value) for each data or function symbol of the symbol table that is defined in this file.
  void for_each_symbol(const std::function<void(std::string_view name, uint64_t value)>& visit) const;

  // File bytes behind [vaddr, vaddr + length), nullopt unless one segment backs all of them.
  std::optional<ByteView> bytes(uint64_t vaddr, uint64_t length) const;
  // File bytes from vaddr to the end of its segment.
  std::optional<ByteView> bytes_from(uint64_t vaddr) const;
  // File bytes of one segment, cut at the end of the file.
  ByteView segment_bytes(const ElfSegment& segment) const;
  // Where a vaddr lies in the file.
  std::optional<uint64_t> file_offset(uint64_t vaddr) const;

  // A copy of bytes(vaddr, length) with the R_*_RELATIVE relocations applied for bias 0. `length` is limited
  // to 64 KiB: one call walks the whole relocation table.
  std::optional<std::vector<std::byte>> relocated(uint64_t vaddr, uint64_t length) const;
  // Calls visit(place, addend) for each R_*_RELATIVE relocation of the dynamic table, in table order.
  void for_each_relative(const std::function<void(uint64_t place, uint64_t addend)>& visit) const;

  // Description of the first note with this owner (without its NUL bytes) and type.
  std::optional<ByteView> note(std::string_view owner, uint32_t type) const;

 private:
  ElfFile() = default;
  void read_sections(uint64_t table, uint16_t entry_size, uint64_t count, uint32_t name_section);
  void read_dynamic(ByteView dynamic);
  std::optional<ByteView> find_note(ByteView notes, uint64_t align, std::string_view owner,
                                    uint32_t type) const;

  ByteView file_;
  uint16_t machine_ = 0;
  bool position_independent_ = false;
  uint64_t entry_ = 0;
  std::vector<ElfSegment> loads_;
  std::vector<ElfSection> sections_;
  struct NoteArea {
    uint64_t offset = 0;
    uint64_t size = 0;
    uint64_t align = 4;
  };
  std::vector<NoteArea> notes_;
  ByteView rela_;  // the dynamic relocations with addends
};

}  // namespace goheapd::gobin

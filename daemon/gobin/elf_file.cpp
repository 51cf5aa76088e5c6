#include "daemon/gobin/elf_file.h"

#include <elf.h>

#include <algorithm>

namespace goheapd::gobin {
namespace {

// A file with more is not the work of a linker, and lookups walk the list.
constexpr size_t kMaxLoads = 256;
constexpr size_t kMaxNotes = 64;
constexpr uint64_t kMaxNoteBytes = 1 << 20;
constexpr uint64_t kMaxSections = 1 << 16;
constexpr uint64_t kMaxRelocatedBytes = 64 * 1024;

constexpr uint64_t align_up(uint64_t value, uint64_t align) { return (value + align - 1) & ~(align - 1); }

std::string_view without_nuls(ByteView bytes) {
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (!text.empty() && text.back() == '\0') text.remove_suffix(1);
  return text;
}

}  // namespace

Expected<ElfFile> ElfFile::parse(ByteView file) {
  auto header = file.read<Elf64_Ehdr>(0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return fail("not an ELF file");
  if (header->e_ident[EI_CLASS] != ELFCLASS64) return fail("32-bit programs are not supported");
  if (header->e_ident[EI_DATA] != ELFDATA2LSB) return fail("big-endian programs are not supported");
  if (header->e_type != ET_EXEC && header->e_type != ET_DYN) return fail("not an executable file");
  if (header->e_phentsize != sizeof(Elf64_Phdr)) return fail("broken ELF file: no program headers");

  ElfFile elf;
  elf.file_ = file;
  elf.machine_ = header->e_machine;
  elf.position_independent_ = header->e_type == ET_DYN;
  elf.entry_ = header->e_entry;

  std::optional<Elf64_Phdr> dynamic;
  for (uint64_t i = 0; i < header->e_phnum; ++i) {
    auto program = file.read<Elf64_Phdr>(header->e_phoff + i * sizeof(Elf64_Phdr));
    if (!program) return fail("broken ELF file: program headers reach beyond its end");
    switch (program->p_type) {
      case PT_LOAD:
        if (elf.loads_.size() == kMaxLoads) return fail("broken ELF file: too many segments");
        elf.loads_.push_back({program->p_vaddr, program->p_offset, program->p_filesz, program->p_memsz,
                              (program->p_flags & PF_W) != 0, (program->p_flags & PF_X) != 0});
        break;
      case PT_DYNAMIC:
        dynamic = *program;
        break;
      case PT_NOTE:
        if (elf.notes_.size() < kMaxNotes) {
          elf.notes_.push_back(
              {program->p_offset, program->p_filesz, program->p_align == 8 ? uint64_t{8} : uint64_t{4}});
        }
        break;
      default:
        break;
    }
  }
  if (elf.loads_.empty()) return fail("broken ELF file: nothing to load");
  if (header->e_shoff != 0 && header->e_shentsize == sizeof(Elf64_Shdr)) {
    elf.read_sections(header->e_shoff, header->e_shentsize, header->e_shnum, header->e_shstrndx);
  }
  if (dynamic) {
    if (auto bytes = file.slice(dynamic->p_offset, dynamic->p_filesz)) elf.read_dynamic(*bytes);
  }
  return elf;
}

void ElfFile::read_sections(uint64_t table, uint16_t entry_size, uint64_t count, uint32_t name_section) {
  // More than 65279 sections: the real count and name section are in the first header.
  if (auto first = file_.read<Elf64_Shdr>(table)) {
    if (count == 0) count = first->sh_size;
    if (name_section == SHN_XINDEX) name_section = first->sh_link;
  }
  if (count > kMaxSections || !file_.contains(table, count * entry_size)) return;
  ByteView names;
  if (auto header = file_.read<Elf64_Shdr>(table + uint64_t{name_section} * entry_size);
      header && name_section < count) {
    names = file_.slice(header->sh_offset, header->sh_size).value_or(ByteView());
  }
  sections_.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    auto header = file_.read<Elf64_Shdr>(table + i * entry_size);
    if (!header) return;
    sections_.push_back({names.c_string(header->sh_name).value_or(std::string_view()), header->sh_type,
                         header->sh_link, header->sh_addr, header->sh_offset, header->sh_size});
    if (header->sh_type == SHT_NOTE && notes_.size() < kMaxNotes) {
      notes_.push_back(
          {header->sh_offset, header->sh_size, header->sh_addralign == 8 ? uint64_t{8} : uint64_t{4}});
    }
  }
}

void ElfFile::read_dynamic(ByteView dynamic) {
  uint64_t address = 0;
  uint64_t size = 0;
  for (uint64_t at = 0;; at += sizeof(Elf64_Dyn)) {
    auto entry = dynamic.read<Elf64_Dyn>(at);
    if (!entry || entry->d_tag == DT_NULL) break;
    if (entry->d_tag == DT_RELA) address = entry->d_un.d_ptr;
    if (entry->d_tag == DT_RELASZ) size = entry->d_un.d_val;
  }
  // DT_RELR needs nothing here: its addends are in the relocated words themselves.
  rela_ = bytes(address, size).value_or(ByteView());
}

const ElfSection* ElfFile::section(std::string_view name) const {
  auto found = std::find_if(sections_.begin(), sections_.end(),
                            [&](const ElfSection& section) { return section.name == name; });
  return found == sections_.end() ? nullptr : &*found;
}

bool ElfFile::has_symbol_table() const {
  return std::any_of(sections_.begin(), sections_.end(), [](const ElfSection& section) {
    return section.type == SHT_SYMTAB && section.size != 0;
  });
}

void ElfFile::for_each_symbol(const std::function<void(std::string_view name, uint64_t value)>& visit) const {
  for (const ElfSection& section : sections_) {
    if (section.type != SHT_SYMTAB || section.link >= sections_.size()) continue;
    const ElfSection& strings = sections_[section.link];
    const ByteView symbols = file_.slice(section.offset, section.size).value_or(ByteView());
    const ByteView names = file_.slice(strings.offset, strings.size).value_or(ByteView());
    for (uint64_t at = 0; auto symbol = symbols.read<Elf64_Sym>(at); at += sizeof(Elf64_Sym)) {
      const unsigned type = ELF64_ST_TYPE(symbol->st_info);
      if (symbol->st_shndx == SHN_UNDEF || (type != STT_OBJECT && type != STT_FUNC)) continue;
      if (auto name = names.c_string(symbol->st_name)) visit(*name, symbol->st_value);
    }
  }
}

ByteView ElfFile::segment_bytes(const ElfSegment& segment) const {
  auto rest = file_.from(segment.offset);
  if (!rest) return {};
  return ByteView(rest->data(), std::min<uint64_t>(rest->size(), segment.file_size));
}

std::optional<ByteView> ElfFile::bytes_from(uint64_t vaddr) const {
  for (const ElfSegment& load : loads_) {
    if (vaddr < load.vaddr || vaddr - load.vaddr >= load.file_size) continue;
    return segment_bytes(load).from(vaddr - load.vaddr);
  }
  return std::nullopt;
}

std::optional<ByteView> ElfFile::bytes(uint64_t vaddr, uint64_t length) const {
  auto rest = bytes_from(vaddr);
  return rest ? rest->slice(0, length) : std::nullopt;
}

std::optional<uint64_t> ElfFile::file_offset(uint64_t vaddr) const {
  for (const ElfSegment& load : loads_) {
    if (vaddr >= load.vaddr && vaddr - load.vaddr < load.file_size) return load.offset + (vaddr - load.vaddr);
  }
  return std::nullopt;
}

void ElfFile::for_each_relative(const std::function<void(uint64_t, uint64_t)>& visit) const {
  const uint64_t relative = machine_ == kMachineArm64 ? R_AARCH64_RELATIVE : R_X86_64_RELATIVE;
  for (uint64_t at = 0;; at += sizeof(Elf64_Rela)) {
    auto entry = rela_.read<Elf64_Rela>(at);
    if (!entry) return;
    if (ELF64_R_TYPE(entry->r_info) == relative)
      visit(entry->r_offset, static_cast<uint64_t>(entry->r_addend));
  }
}

std::optional<std::vector<std::byte>> ElfFile::relocated(uint64_t vaddr, uint64_t length) const {
  if (length > kMaxRelocatedBytes) return std::nullopt;
  auto raw = bytes(vaddr, length);
  if (!raw) return std::nullopt;
  std::vector<std::byte> copy(raw->bytes().begin(), raw->bytes().end());
  for_each_relative([&](uint64_t place, uint64_t addend) {
    if (place < vaddr || place - vaddr >= length || length - (place - vaddr) < sizeof(addend)) return;
    std::memcpy(copy.data() + (place - vaddr), &addend, sizeof(addend));
  });
  return copy;
}

std::optional<ByteView> ElfFile::note(std::string_view owner, uint32_t type) const {
  for (const NoteArea& area : notes_) {
    auto bytes = file_.slice(area.offset, std::min(area.size, kMaxNoteBytes));
    if (!bytes) continue;
    if (auto found = find_note(*bytes, area.align, owner, type)) return found;
  }
  return std::nullopt;
}

std::optional<ByteView> ElfFile::find_note(ByteView notes, uint64_t align, std::string_view owner,
                                           uint32_t type) const {
  for (uint64_t at = 0;;) {
    auto header = notes.read<Elf64_Nhdr>(at);
    if (!header) return std::nullopt;
    const uint64_t name_at = at + sizeof(Elf64_Nhdr);
    const uint64_t description_at = align_up(name_at + header->n_namesz, align);
    auto name = notes.slice(name_at, header->n_namesz);
    auto description = notes.slice(description_at, header->n_descsz);
    if (!name || !description) return std::nullopt;
    if (header->n_type == type && without_nuls(*name) == owner) return description;
    at = align_up(description_at + header->n_descsz, align);
  }
}

}  // namespace goheapd::gobin

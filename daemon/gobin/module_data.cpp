#include "daemon/gobin/module_data.h"

#include <optional>

namespace goheapd::gobin {
namespace {

// The first fields of moduledata have kept their places since Go 1.18; they are read before the version is
// known. https://github.com/golang/go/blob/go1.24.4/src/runtime/symtab.go#L394
constexpr uint64_t kNamesPointerAt = 8;
constexpr uint64_t kTextAt = 176;
// Each candidate costs a walk through the data segment.
constexpr size_t kMaxCandidates = 8;
constexpr uint64_t kMaxTextSections = 1024;

bool refers_to(const ElfFile& elf, uint64_t module_data, uint64_t pclntab, uint64_t names) {
  auto words = elf.relocated(module_data, 16);
  if (!words) return false;
  ByteView view(words->data(), words->size());
  return view.read<uint64_t>(0) == pclntab && view.read<uint64_t>(kNamesPointerAt) == names;
}

std::optional<uint64_t> find_module_data(const ElfFile& elf, uint64_t pclntab,
                                         const Pclntab::Header& header) {
  const uint64_t names = pclntab + header.function_names;
  // From Go 1.26 on the linker gives it a section of its own.
  if (const ElfSection* section = elf.section(".go.module")) {
    if (refers_to(elf, section->address, pclntab, names)) return section->address;
  }
  for (const ElfSegment& load : elf.loads()) {
    if (!load.writable) continue;
    const ByteView bytes = elf.segment_bytes(load);
    for (uint64_t at = (8 - load.vaddr % 8) % 8;; at += 8) {
      auto word = bytes.read<uint64_t>(at);
      if (!word) break;
      if (*word == pclntab && bytes.read<uint64_t>(at + kNamesPointerAt) == names) return load.vaddr + at;
    }
  }
  std::vector<uint64_t> places;
  elf.for_each_relative([&](uint64_t place, uint64_t addend) {
    if (addend == pclntab && places.size() < kMaxCandidates) places.push_back(place);
  });
  for (uint64_t place : places) {
    if (refers_to(elf, place, pclntab, names)) return place;
  }
  return std::nullopt;
}

std::vector<uint64_t> candidates_by_magic(const ElfFile& elf) {
  std::vector<uint64_t> found;
  for (const ElfSegment& load : elf.loads()) {
    const ByteView bytes = elf.segment_bytes(load);
    // magic f0|f1 ff ff ff, two zero bytes, quantum 1|4, pointer size 8, as one little-endian word
    for (uint64_t at = (8 - load.vaddr % 8) % 8;; at += 8) {
      auto word = bytes.read<uint64_t>(at);
      if (!word) break;
      if ((*word & 0xff00fffffffffffe) != 0x08000000fffffff0) continue;
      if (auto rest = bytes.from(at); !Pclntab::read_header(*rest)) continue;
      found.push_back(load.vaddr + at);
      if (found.size() == kMaxCandidates) return found;
    }
  }
  return found;
}

std::optional<RuntimeTables> tables_at(const ElfFile& elf, uint64_t pclntab) {
  auto bytes = elf.bytes_from(pclntab);
  if (!bytes) return std::nullopt;
  auto header = Pclntab::read_header(*bytes);
  if (!header) return std::nullopt;
  auto module_data = find_module_data(elf, pclntab, *header);
  if (!module_data) return std::nullopt;
  auto text = elf.relocated(*module_data + kTextAt, 8);
  if (!text) return std::nullopt;
  RuntimeTables tables{pclntab, *bytes, *header, *module_data, 0};
  std::memcpy(&tables.text_start, text->data(), sizeof(tables.text_start));
  return tables;
}

}  // namespace

Expected<RuntimeTables> find_runtime_tables(const ElfFile& elf) {
  std::optional<Error> section_error;
  for (std::string_view name : {".gopclntab", ".data.rel.ro.gopclntab"}) {
    const ElfSection* section = elf.section(name);
    if (section == nullptr) continue;
    if (auto tables = tables_at(elf, section->address)) return *tables;
    if (auto bytes = elf.bytes_from(section->address)) {
      if (auto header = Pclntab::read_header(*bytes); !header) section_error = header.error();
    }
  }
  const std::vector<uint64_t> candidates = candidates_by_magic(elf);
  for (uint64_t candidate : candidates) {
    if (auto tables = tables_at(elf, candidate)) return *tables;
  }
  if (section_error) return Unexpected(*section_error);
  if (candidates.empty()) return fail("no Go function table");
  return fail("no Go module data that refers to the function table");
}

Expected<ModuleData> read_module_data(const ElfFile& elf, const RuntimeTables& tables,
                                      const RuntimeLayout& layout) {
  const RuntimeLayout::Moduledata& field = layout.moduledata;
  auto copy = elf.relocated(tables.module_data, field.sizeof_struct);
  if (!copy) return fail("broken Go module data: cut off");
  const ByteView bytes(copy->data(), copy->size());
  auto word = [&](const Field& which) { return read_field(bytes, which).value_or(0); };
  auto word_at = [&](uint64_t offset) { return bytes.read<uint64_t>(offset).value_or(0); };

  if (word(field.pc_header) != tables.pclntab ||
      word(field.pclntable) != tables.pclntab + tables.header.functab ||
      word_at(field.ftab.offset + 8) != tables.header.functions + 1) {
    return fail("broken Go module data: it contradicts the function table");
  }
  ModuleData data;
  data.vaddr = tables.module_data;
  data.text = word(field.text);
  data.etext = word(field.etext);
  data.noptrdata = word(field.noptrdata);
  data.enoptrdata = word(field.enoptrdata);
  data.data = word(field.data);
  data.edata = word(field.edata);
  data.bss = word(field.bss);
  data.ebss = word(field.ebss);
  data.noptrbss = word(field.noptrbss);
  data.enoptrbss = word(field.enoptrbss);
  data.types = word(field.types);
  data.etypes = word(field.etypes);
  data.rodata = word(field.rodata);
  data.gofunc = word(field.gofunc);
  if (data.text >= data.etext || data.types > data.etypes || !elf.bytes_from(data.gofunc)) {
    return fail("broken Go module data: its parts are not where this version of Go has them");
  }

  const uint64_t sections_at = word_at(field.textsectmap.offset);
  const uint64_t sections = word_at(field.textsectmap.offset + 8);
  if (sections > kMaxTextSections) return fail("broken Go module data: too many text sections");
  if (sections > 1) {
    const uint64_t entry_bytes = layout.textsect.sizeof_struct;
    auto entries = elf.relocated(sections_at, sections * entry_bytes);
    if (!entries) return fail("broken Go module data: text sections are not in the file");
    const ByteView view(entries->data(), entries->size());
    for (uint64_t i = 0; i < sections; ++i) {
      data.text_sections.push_back({read_field(view, layout.textsect.vaddr, i * entry_bytes).value_or(0),
                                    read_field(view, layout.textsect.end, i * entry_bytes).value_or(0),
                                    read_field(view, layout.textsect.baseaddr, i * entry_bytes).value_or(0)});
    }
  }
  return data;
}

}  // namespace goheapd::gobin

#include "daemon/gobin/pclntab.h"

#include <algorithm>
#include <utility>

namespace goheapd::gobin {
namespace {

// https://github.com/golang/go/blob/go1.24.4/src/debug/gosym/pclntab.go#L178
constexpr uint32_t kMagic118 = 0xfffffff0;  // Go 1.18 and 1.19
constexpr uint32_t kMagic120 = 0xfffffff1;  // Go 1.20 and later
constexpr uint64_t kMaxFunctions = 1 << 24;
constexpr uint64_t kFunctabEntryBytes = 8;
// A function with more line changes than this is not from a compiler; each step costs about a nanosecond.
constexpr uint32_t kMaxPcSteps = 1 << 22;
constexpr uint64_t kRecordNameOffset = 4;  // _func.nameOff, in all versions

struct Varint32 {
  uint32_t value = 0;
  uint64_t next = 0;
};

// The runtime's reading of a varint: 32 bits, whatever the length.
std::optional<Varint32> read_varint32(ByteView bytes, uint64_t at) {
  uint32_t value = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    auto byte = bytes.read<uint8_t>(at++);
    if (!byte) return std::nullopt;
    value |= static_cast<uint32_t>(*byte & 0x7f) << (shift & 31);
    if ((*byte & 0x80) == 0) return Varint32{value, at};
  }
  return std::nullopt;
}

}  // namespace

TextMap::TextMap(uint64_t text_start, std::vector<Section> sections) : text_start_(text_start) {
  if (sections.size() > 1) sections_ = std::move(sections);
}

uint64_t TextMap::address_of(uint64_t offset) const {
  for (const Section& section : sections_) {
    const bool last = &section == &sections_.back();
    if (offset < section.offset_start) continue;
    if (offset < section.offset_end || (last && offset == section.offset_end)) {
      return section.address + (offset - section.offset_start);
    }
  }
  return text_start_ + offset;
}

std::optional<uint64_t> TextMap::offset_of(uint64_t address) const {
  for (const Section& section : sections_) {
    if (address < section.address) return std::nullopt;
    const uint64_t size = section.offset_end - section.offset_start + (&section == &sections_.back() ? 1 : 0);
    if (address - section.address < size) return section.offset_start + (address - section.address);
  }
  if (address < text_start_) return std::nullopt;
  return address - text_start_;
}

Expected<Pclntab::Header> Pclntab::read_header(ByteView bytes) {
  auto magic = bytes.read<uint32_t>(0);
  if (!magic || !bytes.contains(0, kHeaderBytes)) return fail("broken Go function table: too short");
  if (*magic != kMagic118 && *magic != kMagic120) {
    return fail("a Go function table of a Go older than 1.18 or of an unknown future one");
  }
  const auto pad = *bytes.read<uint16_t>(4);
  const auto quantum = *bytes.read<uint8_t>(6);
  const auto pointer_size = *bytes.read<uint8_t>(7);
  if (pad != 0 || (quantum != 1 && quantum != 4) || pointer_size != 8) {
    return fail("broken Go function table: bad header");
  }
  auto word = [&](uint64_t at) { return bytes.read<uint64_t>(at).value_or(0); };
  Header header;
  header.instruction_quantum = quantum;
  header.functions = word(8);
  header.text_start = word(24);
  header.function_names = word(32);
  header.cutab = word(40);
  header.file_names = word(48);
  header.pctab = word(56);
  header.functab = word(64);
  const uint64_t order[] = {kHeaderBytes, header.function_names, header.cutab, header.file_names,
                            header.pctab, header.functab,        bytes.size()};
  if (!std::is_sorted(std::begin(order), std::end(order))) {
    return fail("broken Go function table: parts out of order or beyond its end");
  }
  if (header.functions == 0 || header.functions > kMaxFunctions ||
      !bytes.contains(header.functab, header.functions * kFunctabEntryBytes + sizeof(uint32_t))) {
    return fail("broken Go function table: bad number of functions");
  }
  return header;
}

Expected<Pclntab> Pclntab::parse(ByteView bytes, uint64_t vaddr, TextMap text) {
  auto header = read_header(bytes);
  if (!header) return Unexpected(header.error());
  Pclntab table;
  table.vaddr_ = vaddr;
  table.functions_ = header->functions;
  table.quantum_ = header->instruction_quantum;
  table.text_ = std::move(text);
  // read_header() has checked that these are in order and inside.
  table.names_ = *bytes.slice(header->function_names, header->cutab - header->function_names);
  table.cutab_ = *bytes.slice(header->cutab, header->file_names - header->cutab);
  table.files_ = *bytes.slice(header->file_names, header->pctab - header->file_names);
  table.pctab_ = *bytes.slice(header->pctab, header->functab - header->pctab);
  table.functab_ = *bytes.from(header->functab);
  // Binary search relies on this.
  for (uint64_t i = 0; i < table.functions_; ++i) {
    if (*table.entry_offset(i) > *table.entry_offset(i + 1)) {
      return fail("broken Go function table: functions are not sorted by address");
    }
  }
  table.lowest_pc_ = table.text_.address_of(*table.entry_offset(0));
  table.end_pc_ = table.text_.address_of(*table.entry_offset(table.functions_));
  return table;
}

std::optional<uint64_t> Pclntab::entry_offset(uint64_t index) const {
  auto offset = functab_.read<uint32_t>(index * kFunctabEntryBytes);
  return offset ? std::optional<uint64_t>(*offset) : std::nullopt;
}

std::optional<uint32_t> Pclntab::index_of_pc(uint64_t pc) const {
  if (pc < lowest_pc_ || pc >= end_pc_) return std::nullopt;
  auto offset = text_.offset_of(pc);
  if (!offset) return std::nullopt;
  uint64_t low = 0;
  uint64_t high = functions_;  // invariant: entry(low) <= offset < entry(high)
  if (*entry_offset(0) > *offset || *entry_offset(functions_) <= *offset) return std::nullopt;
  while (high - low > 1) {
    const uint64_t middle = low + (high - low) / 2;
    (*entry_offset(middle) <= *offset ? low : high) = middle;
  }
  return static_cast<uint32_t>(low);
}

std::optional<Pclntab::Range> Pclntab::range(uint32_t index) const {
  if (index >= functions_) return std::nullopt;
  return Range{text_.address_of(*entry_offset(index)), text_.address_of(*entry_offset(uint64_t{index} + 1))};
}

std::optional<ByteView> Pclntab::record(uint32_t index) const {
  if (index >= functions_) return std::nullopt;
  auto offset = functab_.read<uint32_t>(uint64_t{index} * kFunctabEntryBytes + 4);
  return offset ? functab_.from(*offset) : std::nullopt;
}

std::optional<std::string_view> Pclntab::name(uint32_t index) const {
  auto bytes = record(index);
  if (!bytes) return std::nullopt;
  auto offset = bytes->read<uint32_t>(kRecordNameOffset);
  return offset ? names_.c_string(*offset) : std::nullopt;
}

std::optional<uint32_t> Pclntab::find(std::string_view wanted) const {
  for (uint32_t i = 0; i < functions_; ++i) {
    auto bytes = record(i);
    if (!bytes) continue;
    auto offset = bytes->read<uint32_t>(kRecordNameOffset);
    if (!offset) continue;
    auto candidate = names_.slice(*offset, wanted.size() + 1);
    if (candidate && std::memcmp(candidate->data(), wanted.data(), wanted.size()) == 0 &&
        candidate->data()[wanted.size()] == std::byte{0}) {
      return i;
    }
  }
  return std::nullopt;
}

std::optional<std::string_view> Pclntab::file_name(uint32_t unit, uint32_t file) const {
  auto offset = cutab_.read<uint32_t>((uint64_t{unit} + file) * sizeof(uint32_t));
  if (!offset || *offset == ~uint32_t{0}) return std::nullopt;
  return files_.c_string(*offset);
}

int32_t Pclntab::pc_value(uint32_t table, uint64_t pc_delta) const {
  if (table == 0) return -1;
  uint64_t at = table;
  uint64_t pc = 0;
  uint32_t value = ~uint32_t{0};
  for (uint32_t step = 0; step < kMaxPcSteps; ++step) {
    auto value_delta = read_varint32(pctab_, at);
    if (!value_delta || (value_delta->value == 0 && pc != 0)) return -1;
    auto step_bytes = read_varint32(pctab_, value_delta->next);
    if (!step_bytes) return -1;
    value += (0u - (value_delta->value & 1)) ^ (value_delta->value >> 1);  // zigzag
    pc += step_bytes->value * uint32_t{quantum_};
    if (pc_delta < pc) return static_cast<int32_t>(value);
    at = step_bytes->next;
  }
  return -1;
}

int32_t Pclntab::highest_pc_value(uint32_t table) const {
  if (table == 0) return -1;
  uint64_t at = table;
  uint32_t value = ~uint32_t{0};
  int32_t highest = -1;
  for (uint32_t step = 0; step < kMaxPcSteps; ++step) {
    auto value_delta = read_varint32(pctab_, at);
    if (!value_delta || (value_delta->value == 0 && step != 0)) break;
    auto step_bytes = read_varint32(pctab_, value_delta->next);
    if (!step_bytes) break;
    value += (0u - (value_delta->value & 1)) ^ (value_delta->value >> 1);  // zigzag
    highest = std::max(highest, static_cast<int32_t>(value));
    at = step_bytes->next;
  }
  return highest;
}

}  // namespace goheapd::gobin

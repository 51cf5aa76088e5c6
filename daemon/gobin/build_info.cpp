#include "daemon/gobin/build_info.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

namespace goheapd::gobin {
namespace {

// https://github.com/golang/go/blob/go1.24.4/src/debug/buildinfo/buildinfo.go#L58
constexpr std::string_view kMagic("\xff Go buildinf:", 14);
constexpr uint64_t kInfoAlign = 16;
constexpr uint64_t kFlagsAt = 15;
constexpr uint8_t kFlagInlineStrings = 2;
constexpr uint64_t kStringsAt = 32;
constexpr uint64_t kVersionPointerAt = 16;
constexpr uint64_t kMaxVersionBytes = 1024;
constexpr uint64_t kMaxModuleInfoBytes = 4 << 20;

// https://github.com/golang/go/blob/go1.24.4/src/cmd/go/internal/modload/build.go#L30
constexpr std::string_view kInfoStart("\x30\x77\xaf\x0c\x92\x74\x08\x02\x41\xe1\xc1\x07\xe6\xd6\x18\xe6", 16);
constexpr std::string_view kInfoEnd("\xf9\x32\x43\x31\x86\x18\x20\x72\x00\x82\x42\x10\x41\x16\xd8\xf2", 16);

std::string_view text_of(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct FoundInfo {
  uint64_t vaddr = 0;
  ByteView bytes;
};

std::optional<FoundInfo> find_info(const ElfFile& elf) {
  if (const ElfSection* section = elf.section(".go.buildinfo")) {
    auto bytes = elf.bytes_from(section->address);
    if (bytes && text_of(*bytes).starts_with(kMagic)) return FoundInfo{section->address, *bytes};
  }
  for (const ElfSegment& load : elf.loads()) {
    if (!load.writable) continue;
    ByteView bytes = elf.segment_bytes(load);
    const std::string_view text = text_of(bytes);
    for (size_t at = text.find(kMagic); at != std::string_view::npos; at = text.find(kMagic, at + 1)) {
      if ((load.vaddr + at) % kInfoAlign == 0) return FoundInfo{load.vaddr + at, *bytes.from(at)};
    }
  }
  return std::nullopt;
}

struct VarintString {
  std::string_view text;
  uint64_t next = 0;
};

std::optional<VarintString> read_string(ByteView bytes, uint64_t at, uint64_t limit) {
  auto length = bytes.uvarint(at);
  if (!length || length->value > limit) return std::nullopt;
  auto content = bytes.slice(length->next, length->value);
  if (!content) return std::nullopt;
  return VarintString{text_of(*content), length->next + length->value};
}

// Up to Go 1.17 there is a pointer to the version's string header, which a PIE may leave to the loader as it does the
// pointer in the header. Error: it leads nowhere.
Expected<GoVersion> version_by_pointer(const ElfFile& elf, uint64_t info) {
  const auto follow = [&elf](std::optional<uint64_t> address, uint64_t bytes) {
    return address ? elf.relocated(*address, bytes) : std::nullopt;
  };
  const auto word = [](const std::optional<std::vector<std::byte>>& from, uint64_t at) {
    return from ? ByteView(from->data(), from->size()).read<uint64_t>(at) : std::nullopt;
  };
  const auto header = follow(word(elf.relocated(info + kVersionPointerAt, 8), 0), 16);
  const auto length = word(header, 8);
  const auto text = length && *length <= kMaxVersionBytes ? follow(word(header, 0), *length) : std::nullopt;
  if (!text) return fail("built by a Go older than 1.18, and which it was is not in the file");
  return parse_go_version(text_of(ByteView(text->data(), text->size())));
}

// Takes the number at the front of `text`.
std::optional<int> take_number(std::string_view& text) {
  int value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data() || value < 0) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

std::string_view next_field(std::string_view& line, char separator) {
  const size_t end = line.find(separator);
  std::string_view field = line.substr(0, end);
  line.remove_prefix(end == std::string_view::npos ? line.size() : end + 1);
  return field;
}

// Addresses that the code may refer to. amd64: any 4 bytes taken as a displacement of an instruction that
// ends there or after an immediate of 1 or 4 bytes; arm64: an ADRP and the load or add that follows with its
// register. Far more candidates than real operands: only what they point at tells.
std::vector<uint64_t> referenced_addresses(uint16_t machine, const FunctionCode& function) {
  std::vector<uint64_t> found;
  const ByteView code = function.code;
  if (machine == ElfFile::kMachineAmd64) {
    for (uint64_t at = 0;; ++at) {
      auto displacement = code.read<int32_t>(at);
      if (!displacement) break;
      const uint64_t end = function.entry + at + 4 + static_cast<uint64_t>(int64_t{*displacement});
      found.insert(found.end(), {end, end + 1, end + 4});
    }
    return found;
  }
  for (uint64_t at = 0;; at += 4) {
    auto adrp = code.read<uint32_t>(at);
    if (!adrp) break;
    if ((*adrp & 0x9f000000) != 0x90000000) continue;
    const uint32_t target = *adrp & 31;
    const uint32_t pages = ((*adrp >> 5) & 0x7ffff) << 2 | ((*adrp >> 29) & 3);
    const int64_t signed_pages = static_cast<int32_t>(pages << 11) >> 11;
    const uint64_t page =
        ((function.entry + at) & ~uint64_t{4095}) + static_cast<uint64_t>(signed_pages * 4096);
    for (uint64_t user = at + 4; user <= at + 16; user += 4) {
      auto word = code.read<uint32_t>(user);
      if (!word) break;
      const uint32_t source = (*word >> 5) & 31;
      const uint64_t immediate = (*word >> 10) & 0xfff;
      if (source != target) continue;
      if ((*word & 0xff800000) == 0x91000000) found.push_back(page + immediate);      // ADD
      if ((*word & 0xffc00000) == 0xf9400000) found.push_back(page + immediate * 8);  // LDR, 8 bytes
    }
  }
  return found;
}

}  // namespace

Expected<GoVersion> parse_go_version(std::string_view text) {
  GoVersion version;
  version.text = text;
  std::string_view rest = text;
  if (!rest.starts_with("go1.") || rest.find("devel") != std::string_view::npos) {
    return fail("built by a development version of Go, whose layouts are unknown; rebuild it with a release",
                version.text);
  }
  rest.remove_prefix(4);
  auto minor = take_number(rest);
  if (!minor) return fail("not the version of a Go release", version.text);
  version.minor = *minor;
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    auto patch = take_number(rest);
    if (!patch) return fail("not the version of a Go release", version.text);
    version.patch = *patch;
  }
  if (rest.starts_with("rc") || rest.starts_with("beta")) {
    return fail("built by a pre-release of Go, whose layouts are unknown; rebuild it with a release",
                version.text);
  }
  // " X:a,b" up to 1.25, "-X:a,b" from 1.26 on; other suffixes are the distributor's.
  const size_t mark = rest.find("X:");
  if (mark != std::string_view::npos && (mark == 0 || rest[mark - 1] == ' ' || rest[mark - 1] == '-')) {
    std::string_view list = rest.substr(mark + 2);
    list = list.substr(0, list.find(' '));
    while (!list.empty()) {
      std::string_view name = next_field(list, ',');
      if (!name.empty()) version.experiments.emplace_back(name);
    }
  }
  return version;
}

ModuleInfo parse_module_info(std::string_view text) {
  if (text.starts_with(kInfoStart) && text.ends_with(kInfoEnd) && text.size() >= 32) {
    text = text.substr(16, text.size() - 32);
  }
  ModuleInfo info;
  while (!text.empty()) {
    std::string_view line = next_field(text, '\n');
    const std::string_view kind = next_field(line, '\t');
    if (kind == "path") info.main_package = line;
    if (kind == "mod") {
      info.module = next_field(line, '\t');
      info.module_version = next_field(line, '\t');
    }
    if (kind == "build") {
      // Keys and values with special characters are quoted as Go strings; the settings we look at are not.
      const std::string_view key = next_field(line, '=');
      info.settings.emplace_back(key, line);
    }
  }
  return info;
}

bool has_build_info(const ElfFile& elf) { return find_info(elf).has_value(); }

Expected<BuildInfo> read_build_info(const ElfFile& elf) {
  const auto found = find_info(elf);
  if (!found) return fail("no Go build information");
  const ByteView* const bytes = &found->bytes;
  auto flags = bytes->read<uint8_t>(kFlagsAt);
  if (!flags || (*flags & kFlagInlineStrings) == 0) {
    return version_by_pointer(elf, found->vaddr).map([](GoVersion version) {
      return BuildInfo{std::move(version), {}};
    });
  }
  auto version_text = read_string(*bytes, kStringsAt, kMaxVersionBytes);
  if (!version_text) return fail("broken Go build information");
  auto version = parse_go_version(version_text->text);
  if (!version) return Unexpected(version.error());
  BuildInfo info{std::move(*version), {}};
  if (auto module = read_string(*bytes, version_text->next, kMaxModuleInfoBytes)) {
    info.module = parse_module_info(module->text);
  }
  return info;
}

Expected<BuildInfo> build_info_from_code(const ElfFile& elf, const FunctionCode& schedinit) {
  // Code may refer to either word of a string header {pointer, length}, whose pointer a PIE leaves to the
  // loader.
  std::map<uint64_t, uint64_t> pointer_at;  // address of a possible header -> its pointer
  for (uint64_t address : referenced_addresses(elf.machine(), schedinit)) {
    for (uint64_t header : {address, address - 8}) {
      if (header % 8 != 0) continue;
      auto raw = elf.bytes(header, 16);
      if (raw) pointer_at.emplace(header, raw->read<uint64_t>(0).value_or(0));
    }
  }
  elf.for_each_relative([&](uint64_t place, uint64_t addend) {
    if (auto found = pointer_at.find(place); found != pointer_at.end()) found->second = addend;
  });

  std::optional<BuildInfo> info;
  std::optional<ModuleInfo> module;
  for (const auto& [header, pointer] : pointer_at) {
    const uint64_t length = elf.bytes(header, 16)->read<uint64_t>(8).value_or(0);
    if (length == 0 || length > kMaxModuleInfoBytes) continue;
    auto content = elf.bytes(pointer, length);
    if (!content) continue;
    const std::string_view text = text_of(*content);
    if (text.starts_with(kInfoStart) && text.ends_with(kInfoEnd)) module = parse_module_info(text);
    if (length > kMaxVersionBytes || !(text.starts_with("go1.") || text.starts_with("devel "))) continue;
    auto version = parse_go_version(text);
    if (!version) return Unexpected(version.error());
    if (info && info->version.text != version->text) {
      return fail("no Go build information, and runtime.schedinit refers to more than one version");
    }
    info = BuildInfo{std::move(*version), {}};
  }
  if (!info) return fail("no Go build information, and no version string behind runtime.schedinit");
  if (module) info->module = std::move(*module);
  return std::move(*info);
}

}  // namespace goheapd::gobin

#include "tests/unit/gobin/synthetic_binary.h"

#include <elf.h>

#include <cstring>

#include "daemon/gobin/runtime_layout.h"

namespace goheapd::test {
namespace {

using Bytes = std::vector<std::byte>;

constexpr uint64_t kTableAt = 0x4000;  // file offsets; + kBase are vaddrs
constexpr uint64_t kGofuncAt = 0x8000;
constexpr uint64_t kStringsAt = 0x9000;
constexpr uint64_t kSectionNamesAt = 0xa000;
constexpr uint64_t kDataAt = 0x10000;      // of the writable segment
constexpr uint64_t kModuleDataAt = 0x100;  // in the writable segment
constexpr uint64_t kBuildInfoAt = 0x800;
constexpr uint64_t kVariablesAt = 0x1800;
constexpr uint64_t kRelocationsAt = 0x2000;
constexpr uint64_t kDynamicAt = 0x3000;
constexpr uint64_t kDataBytes = 0x4000;
constexpr uint64_t kSectionHeadersAt = kDataAt + kDataBytes;

template <typename T>
void put(Bytes& bytes, uint64_t at, const T& value) {
  if (bytes.size() < at + sizeof(T)) bytes.resize(at + sizeof(T));
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

void put_bytes(Bytes& bytes, uint64_t at, const void* data, size_t size) {
  if (bytes.size() < at + size) bytes.resize(at + size);
  if (size > 0) std::memcpy(bytes.data() + at, data, size);
}

void add_varint(Bytes& bytes, uint32_t value) {
  for (; value >= 0x80; value >>= 7) bytes.push_back(std::byte(value | 0x80));
  bytes.push_back(std::byte(value));
}

void add_string(Bytes& bytes, const std::string& text) {
  put_bytes(bytes, bytes.size(), text.c_str(), text.size() + 1);
}

// Names in the order of their first use. Offset 0 is taken by a name that nothing else uses.
class Names {
 public:
  Names() { offset_of("go:buildid"); }
  uint32_t offset_of(const std::string& name) {
    auto [found, is_new] = offsets_.emplace(name, static_cast<uint32_t>(bytes.size()));
    if (is_new) add_string(bytes, name);
    return found->second;
  }
  Bytes bytes;

 private:
  std::map<std::string, uint32_t> offsets_;
};

// Offset of the encoded table, 0 for an empty one.
uint32_t add_pc_table(Bytes& pctab, const SyntheticBinary::PcTable& table) {
  if (table.empty()) return 0;
  const auto offset = static_cast<uint32_t>(pctab.size());
  int32_t value = -1;
  uint32_t pc = 0;
  for (const auto& [next, until] : table) {
    const int32_t delta = next - value;
    add_varint(pctab, (static_cast<uint32_t>(delta) << 1) ^ static_cast<uint32_t>(delta >> 31));
    add_varint(pctab, until - pc);
    value = next;
    pc = until;
  }
  pctab.push_back(std::byte{0});
  return offset;
}

struct Tables {
  Bytes pclntab;
  Bytes gofunc;
  uint64_t names_at = 0, functab_at = 0;
};

Tables make_tables(const SyntheticBinary& binary) {
  Tables tables;
  Names names;
  Bytes pctab(1);  // offset 0 means "no table"
  Bytes records;
  const size_t count = binary.functions.size();
  const auto functab_bytes = static_cast<uint32_t>(count * 8 + 8);
  Bytes functab(functab_bytes);
  for (size_t i = 0; i < count; ++i) {
    const auto& function = binary.functions[i];
    const auto entry = static_cast<uint32_t>(i * SyntheticBinary::kFunctionBytes);
    put(functab, i * 8, entry);
    put(functab, i * 8 + 4, static_cast<uint32_t>(functab_bytes + records.size()));
    uint32_t tree = ~uint32_t{0};
    if (!function.calls.empty()) {
      tree = static_cast<uint32_t>(tables.gofunc.size());
      for (const auto& call : function.calls) {
        const size_t at = tables.gofunc.size();
        put(tables.gofunc, at, uint32_t{call.func_id});
        put(tables.gofunc, at + 4, names.offset_of(call.function));
        put(tables.gofunc, at + 8, call.parent_pc);
        put(tables.gofunc, at + 12, call.start_line);
      }
    }
    const size_t at = records.size();
    put(records, at, entry);
    put(records, at + 4, names.offset_of(function.name));
    put(records, at + 20, add_pc_table(pctab, {{0, SyntheticBinary::kFunctionBytes}}));  // file number
    put(records, at + 24, add_pc_table(pctab, function.lines));
    put(records, at + 28, uint32_t{3});  // npcdata
    put(records, at + 36, function.start_line);
    put(records, at + 40, function.func_id);
    put(records, at + 43, uint8_t{4});  // nfuncdata
    put(records, at + 44 + 8, add_pc_table(pctab, function.inlined));
    put(records, at + 44 + 12 + 12, tree);
  }
  put(functab, count * 8, static_cast<uint32_t>(count * SyntheticBinary::kFunctionBytes));
  functab.insert(functab.end(), records.begin(), records.end());
  Bytes cutab(4);
  Bytes files;
  add_string(files, binary.file_name);

  Bytes& table = tables.pclntab;
  put(table, 0, binary.functab_magic);
  put(table, 6, uint8_t(binary.machine == EM_AARCH64 ? 4 : 1));
  put(table, 7, uint8_t{8});
  put(table, 8, uint64_t{count});
  put(table, 16, uint64_t{1});
  put(table, 24, SyntheticBinary::kText);
  table.resize(72);
  uint64_t slot = 32;
  for (const Bytes* part : {&names.bytes, &cutab, &files, &pctab, &functab}) {
    table.resize((table.size() + 7) / 8 * 8);
    if (part == &names.bytes) tables.names_at = table.size();
    if (part == &functab) tables.functab_at = table.size();
    put(table, slot, uint64_t{table.size()});
    slot += 8;
    put_bytes(table, table.size(), part->data(), part->size());
  }
  return tables;
}

}  // namespace

SyntheticBinary SyntheticBinary::ordinary() {
  SyntheticBinary binary;
  binary.functions = {
      {.name = "_rt0_amd64_linux"},
      // bytes 0x10..0x20 are main.leaf in main.middle in main.main, 0x20..0x30 main.middle in main.main
      {.name = "main.main",
       .lines = {{10, 0x10}, {31, 0x20}, {22, 0x30}, {13, 0x40}},
       .inlined = {{-1, 0x10}, {1, 0x20}, {0, 0x30}, {-1, 0x40}},
       .calls = {{.function = "main.middle", .parent_pc = 0x0f, .start_line = 20},
                 {.function = "main.leaf[go.shape.int]", .parent_pc = 0x21, .start_line = 30}},
       .start_line = 9},
      {.name = "runtime.goexit"},
      {.name = "runtime.main"},
      {.name = "runtime.mallocgc"},
      {.name = "runtime.schedinit"},
      {.name = "runtime.sigpanic"},
      {.name = "internal/runtime/maps.newTable"},
      {.name = "main.(*T).Wrapped", .func_id = 22},  // an autogenerated wrapper in Go 1.22 to 1.24
  };
  return binary;
}

std::vector<std::byte> SyntheticBinary::build() const {
  const Tables tables = make_tables(*this);
  Bytes file(kSectionHeadersAt);
  std::vector<std::pair<uint64_t, uint64_t>> pointers;  // {vaddr of the word, value}

  for (size_t i = 0; i < functions.size(); ++i) {
    const uint64_t at = entry(i) - kBase;
    std::memset(file.data() + at, 0xcc, kFunctionBytes);
    put_bytes(file, at, functions[i].code.data(), functions[i].code.size());
  }
  put_bytes(file, kTableAt, tables.pclntab.data(), tables.pclntab.size());
  put_bytes(file, kGofuncAt, tables.gofunc.data(), tables.gofunc.size());

  if (module_data) {
    const gobin::GoVersion measured{.minor = 24, .patch = 4, .text = {}, .experiments = {}};
    const auto layout = gobin::runtime_layout(measured, gobin::Arch::amd64)->moduledata;
    auto word = [&](gobin::Field field, uint64_t value, uint64_t extra = 0) {
      pointers.emplace_back(kData + kModuleDataAt + field.offset + extra, value);
    };
    auto plain = [&](gobin::Field field, uint64_t extra, uint64_t value) {
      put(file, kDataAt + kModuleDataAt + field.offset + extra, value);
    };
    const uint64_t table = kBase + kTableAt;
    word(layout.pc_header, table);
    word(layout.funcnametab, table + tables.names_at);
    word(layout.pclntable, table + tables.functab_at);
    word(layout.ftab, table + tables.functab_at);
    plain(layout.ftab, 8, functions.size() + 1);
    word(layout.text, kText);
    word(layout.etext, kText + functions.size() * kFunctionBytes);
    word(layout.gofunc, kBase + kGofuncAt);
    word(layout.types, kBase + kStringsAt);
    word(layout.etypes, kBase + kStringsAt);
  }
  if (!version.empty()) {
    Bytes info;
    put_bytes(info, 0, "\xff Go buildinf:\x08\x02", 16);
    info.resize(32);
    for (const std::string* text : {&version, &module_info}) {
      add_varint(info, static_cast<uint32_t>(text->size()));
      put_bytes(info, info.size(), text->data(), text->size());
    }
    put_bytes(file, kDataAt + kBuildInfoAt, info.data(), info.size());
  }
  uint64_t string_at = kStringsAt;
  for (size_t i = 0; i < string_variables.size(); ++i) {
    put_bytes(file, string_at, string_variables[i].data(), string_variables[i].size());
    pointers.emplace_back(variable(i), kBase + string_at);
    put(file, kDataAt + kVariablesAt + 16 * i + 8, uint64_t{string_variables[i].size()});
    string_at += string_variables[i].size();
  }
  uint64_t relocations = 0;
  for (const auto& [place, value] : pointers) {
    if (position_independent) {
      const uint64_t type = machine == EM_AARCH64 ? R_AARCH64_RELATIVE : R_X86_64_RELATIVE;
      put(file, kDataAt + kRelocationsAt + sizeof(Elf64_Rela) * relocations++,
          Elf64_Rela{place, ELF64_R_INFO(0, type), static_cast<Elf64_Sxword>(value)});
    } else {
      put(file, kDataAt + (place - kData), value);
    }
  }
  const Elf64_Dyn dynamic[] = {
      {DT_RELA, {kData + kRelocationsAt}}, {DT_RELASZ, {relocations * sizeof(Elf64_Rela)}}, {DT_NULL, {0}}};
  put(file, kDataAt + kDynamicAt, dynamic);

  const Elf64_Phdr segments[] = {
      {PT_LOAD, PF_R | PF_X, 0, kBase, kBase, kDataAt, kDataAt, 0x1000},
      {PT_LOAD, PF_R | PF_W, kDataAt, kData, kData, kDataBytes, kDataBytes + 0x1000, 0x1000},
      {PT_DYNAMIC, PF_R | PF_W, kDataAt + kDynamicAt, kData + kDynamicAt, 0, sizeof(dynamic), sizeof(dynamic),
       8},
      {PT_NOTE, PF_R, 0x800, kBase + 0x800, 0, 48, 48, 4},
  };
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = position_independent ? ET_DYN : ET_EXEC;
  header.e_machine = machine;
  header.e_entry = kText;
  header.e_phoff = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = std::size(segments);
  put(file, sizeof(header), segments);
  put(file, 0x800, Elf64_Nhdr{4, 8, 4});
  put_bytes(file, 0x80c, "Go\0\0the/id\0\0", 12);
  put(file, 0x818, Elf64_Nhdr{4, 4, NT_GNU_BUILD_ID});
  put_bytes(file, 0x824, "GNU\0\xde\xad\xbe\xef", 8);

  if (section_headers) {
    static constexpr char kNames[] = "\0.gopclntab\0.go.buildinfo\0.shstrtab";
    put_bytes(file, kSectionNamesAt, kNames, sizeof(kNames));
    Elf64_Shdr sections[4] = {};
    sections[1] = {1, SHT_PROGBITS, SHF_ALLOC, kBase + kTableAt, kTableAt, tables.pclntab.size(), 0,
                   0, 32,           0};
    sections[2] = {12, SHT_PROGBITS, SHF_ALLOC, kData + kBuildInfoAt, kDataAt + kBuildInfoAt, 0x100, 0,
                   0,  16,           0};
    sections[3] = {26, SHT_STRTAB, 0, 0, kSectionNamesAt, sizeof(kNames), 0, 0, 1, 0};
    if (version.empty()) sections[2].sh_name = 0;
    header.e_shoff = kSectionHeadersAt;
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = std::size(sections);
    header.e_shstrndx = 3;
    put(file, kSectionHeadersAt, sections);
  }
  put(file, 0, header);
  return file;
}

}  // namespace goheapd::test

#include "daemon/gobin/go_binary.h"

#include <elf.h>

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "daemon/base/mapped_file.h"
#include "daemon/gobin/go_marks.h"

namespace goheapd::gobin {
namespace {

constexpr std::string_view kIndexedPackages[] = {"runtime.", "internal/runtime/"};
// Runs in every Go program, before anything else of Go.
constexpr std::string_view kFirstFunction = "runtime.schedinit";

bool is_indexed(std::string_view name) {
  return std::any_of(std::begin(kIndexedPackages), std::end(kIndexedPackages),
                     [&](std::string_view package) { return name.starts_with(package); });
}

std::string to_hex(ByteView bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (std::byte byte : bytes.bytes()) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4];
    text += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

FunctionCode function_code(const ElfFile& elf, const Pclntab& pclntab, uint32_t index) {
  const Pclntab::Range range = pclntab.range(index).value_or(Pclntab::Range{});
  FunctionCode function{pclntab.name(index).value_or(std::string_view()), range.entry, range.end, {}};
  if (range.end <= range.entry) return function;
  if (auto rest = elf.bytes_from(range.entry)) {
    function.code = ByteView(rest->data(), std::min<uint64_t>(rest->size(), range.end - range.entry));
  }
  return function;
}

}  // namespace

struct GoBinary::Parts {
  Parts(ElfFile elf_file, Pclntab table, ModuleData data, RuntimeLayout runtime_layout,
        BinaryInfo binary_info)
      : elf(std::move(elf_file)),
        pclntab(std::move(table)),
        module_data(std::move(data)),
        layout(std::move(runtime_layout)),
        info(std::move(binary_info)),
        symbolizer(elf, pclntab, module_data, layout) {}

  // Views of all members below point into it, so it comes first (and goes last).
  std::optional<MappedFile> file;
  ElfFile elf;
  Pclntab pclntab;
  ModuleData module_data;
  RuntimeLayout layout;
  BinaryInfo info;
  Symbolizer symbolizer;

  mutable std::once_flag globals_once;
  mutable Globals globals;
  mutable std::once_flag probe_sites_once;
  mutable ProbeSites probe_sites;
  // Functions of the runtime's packages, sorted by name.
  mutable std::once_flag index_once;
  mutable std::vector<uint32_t> index;

  void make_index() const {
    for (uint32_t i = 0; i < pclntab.function_count(); ++i) {
      if (auto name = pclntab.name(i); name && is_indexed(*name)) index.push_back(i);
    }
    std::sort(index.begin(), index.end(), [&](uint32_t a, uint32_t b) {
      return std::pair(pclntab.name(a), a) < std::pair(pclntab.name(b), b);
    });
  }

  std::optional<uint32_t> find(std::string_view name) const {
    if (!is_indexed(name)) return pclntab.find(name);
    std::call_once(index_once, [this] { make_index(); });
    auto found = std::lower_bound(
        index.begin(), index.end(), name,
        [&](uint32_t candidate, std::string_view wanted) { return pclntab.name(candidate) < wanted; });
    if (found == index.end() || pclntab.name(*found) != name) return std::nullopt;
    return *found;
  }
};

GoBinary::GoBinary() = default;
GoBinary::~GoBinary() = default;

Expected<std::shared_ptr<const GoBinary>> GoBinary::open(const std::string& path) {
  const auto file = OpenFile::open(path);
  if (!file) return Unexpected(file.error());
  return open(**file);
}

Expected<std::shared_ptr<const GoBinary>> GoBinary::open(const OpenFile& file) {
  auto mapped = MappedFile::map(file);
  if (!mapped) return Unexpected(mapped.error());
  auto binary = recognize(mapped->bytes());
  if (!binary) {
    Error error = binary.error();
    if (error.subject.empty()) error.subject = file.name();
    return Unexpected(std::move(error));
  }
  mapped->release_pages();
  // Nobody else has it yet. The mapping keeps its address when the MappedFile moves.
  (*binary)->parts_->file = std::move(*mapped);
  return binary;
}

Expected<std::shared_ptr<const GoBinary>> GoBinary::recognize(ByteView file) {
  auto elf = ElfFile::parse(file);
  if (!elf) return Unexpected(elf.error());
  if (elf->machine() != ElfFile::kMachineAmd64 && elf->machine() != ElfFile::kMachineArm64) {
    return fail("only amd64 and arm64 programs are supported");
  }
  const Arch arch = elf->machine() == ElfFile::kMachineArm64 ? Arch::arm64 : Arch::amd64;
  if (!may_be_go(*elf)) return fail("not a Go program");

  // The version first: where it is written down, its refusal is the better message.
  const bool has_info = has_build_info(*elf);
  std::optional<BuildInfo> build;
  if (has_info) {
    auto read = read_build_info(*elf);
    if (!read) return Unexpected(read.error());
    build = std::move(*read);
    if (auto supported = check_supported(build->version); !supported) return Unexpected(supported.error());
  }
  auto tables = find_runtime_tables(*elf);
  if (!tables) return Unexpected(tables.error());
  if (!build) {
    auto pclntab = Pclntab::parse(tables->pclntab_bytes, tables->pclntab, TextMap(tables->text_start));
    if (!pclntab) return Unexpected(pclntab.error());
    auto schedinit = pclntab->find(kFirstFunction);
    if (!schedinit) return fail("no Go build information, and the Go runtime is not in this file");
    auto read = build_info_from_code(*elf, function_code(*elf, *pclntab, *schedinit));
    if (!read) return Unexpected(read.error());
    build = std::move(*read);
  }
  auto layout = runtime_layout(build->version, arch);
  if (!layout) return Unexpected(layout.error());
  auto module_data = read_module_data(*elf, *tables, *layout);
  if (!module_data) return Unexpected(module_data.error());
  auto pclntab = Pclntab::parse(tables->pclntab_bytes, tables->pclntab,
                                TextMap(module_data->text, module_data->text_sections));
  if (!pclntab) return Unexpected(pclntab.error());

  BinaryInfo info;
  info.version = std::move(build->version);
  info.main_package = std::move(build->module.main_package);
  info.module = std::move(build->module.module);
  info.module_version = std::move(build->module.module_version);
  info.arch = arch;
  info.pie = elf->position_independent();
  info.stripped = !elf->has_symbol_table();
  info.has_section_headers = elf->has_section_headers();
  info.has_build_info = has_info;
  if (auto id = elf->note("GNU", NT_GNU_BUILD_ID)) info.gnu_build_id = to_hex(*id);
  if (auto id = elf->note("Go", kNoteGoBuildId)) {
    info.go_build_id.assign(reinterpret_cast<const char*>(id->data()), id->size());
  }
  // The system linker starts a program in the C library's start code, Go's own linker in the runtime.
  auto start = pclntab->index_of_pc(elf->entry());
  info.external_link = !start || !pclntab->name(*start).value_or(std::string_view()).starts_with("_rt0_");

  std::shared_ptr<GoBinary> binary(new GoBinary());
  binary->parts_ = std::make_unique<Parts>(std::move(*elf), std::move(*pclntab), std::move(*module_data),
                                           std::move(*layout), std::move(info));
  if (!binary->parts_->find(kFirstFunction)) {
    return fail("the Go runtime is not in this file (linked as a shared library)");
  }
  return std::shared_ptr<const GoBinary>(std::move(binary));
}

const BinaryInfo& GoBinary::info() const { return parts_->info; }
const ElfFile& GoBinary::elf() const { return parts_->elf; }
const Pclntab& GoBinary::pclntab() const { return parts_->pclntab; }
const ModuleData& GoBinary::module_data() const { return parts_->module_data; }
const RuntimeLayout& GoBinary::layout() const { return parts_->layout; }
const Symbolizer& GoBinary::symbolizer() const { return parts_->symbolizer; }
const Globals& GoBinary::globals() const {
  std::call_once(parts_->globals_once, [this] {
    parts_->globals =
        Globals::find(parts_->elf, parts_->layout, [this](std::string_view name) { return function(name); });
  });
  return parts_->globals;
}

const ProbeSites& GoBinary::probe_sites() const {
  std::call_once(parts_->probe_sites_once, [this] {
    const auto mallocgc = parts_->find("runtime.mallocgc");
    const InlineCopies copies =
        mallocgc ? InlineCopies::find(parts_->pclntab, parts_->symbolizer, parts_->layout, *mallocgc)
                 : InlineCopies();
    parts_->probe_sites = ProbeSites::find(
        parts_->elf, parts_->layout, [this](std::string_view name) { return function(name); }, copies);
  });
  return parts_->probe_sites;
}

uint64_t GoBinary::load_base() const { return parts_->elf.load_base(); }

std::optional<FunctionCode> GoBinary::function(std::string_view name) const {
  auto index = parts_->find(name);
  if (!index) return std::nullopt;
  return function_code(parts_->elf, parts_->pclntab, *index);
}

std::optional<FunctionCode> GoBinary::function_at(uint64_t pc) const {
  auto index = parts_->pclntab.index_of_pc(pc);
  if (!index) return std::nullopt;
  return function_code(parts_->elf, parts_->pclntab, *index);
}

bool GoBinary::links_memory_profile() const {
  const std::string_view reader =
      info().version.minor >= 23 ? "runtime.memProfileInternal" : "runtime.MemProfile";
  return parts_->find(reader).has_value();
}

void GoBinary::release_pages() const {
  if (parts_->file) parts_->file->release_pages();
}

}  // namespace goheapd::gobin

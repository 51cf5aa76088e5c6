// Executables: ELF, build info, function table, module data, code, and all that is asked of a recognised one.
#include "daemon/gobin/go_binary.h"

#include "tests/fuzz/fuzzer.h"
#include "tests/unit/gobin/synthetic_binary.h"

namespace goheapd::fuzz {
namespace {

std::string text_of(const test::SyntheticBinary& binary) {
  const std::vector<std::byte> bytes = binary.build();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::vector<std::string> seeds() {
  std::vector<std::string> all;
  const auto add = [&all](auto change) {
    test::SyntheticBinary binary = test::SyntheticBinary::ordinary();
    change(binary);
    all.push_back(text_of(binary));
  };
  add([](auto&) {});
  add([](auto& binary) { binary.position_independent = true; });
  add([](auto& binary) { binary.section_headers = false; });
  add([](auto& binary) { binary.machine = 183; });
  add([](auto& binary) { binary.version = "go1.27.1 X:nocoverageredesign"; });
  add([](auto& binary) { binary.version.clear(); });
  add([](auto& binary) {
    binary.functions.push_back({.name = "main.caller",
                                .code = {0x90, 0x90},
                                .inlined = {{0, 8}, {-1, 64}},
                                .calls = {{"main.inlined", 3, 7, 0}}});
  });
  return all;
}

void run(std::string_view input) {
  const auto recognised = gobin::GoBinary::recognize(ByteView(input.data(), input.size()));
  if (!recognised) return;
  const gobin::GoBinary& binary = **recognised;
  use_text(binary.info().module);
  use_text(binary.info().main_package);
  use(binary.load_base());
  use(binary.links_memory_profile());
  const gobin::ElfFile& elf = binary.elf();
  elf.for_each_symbol([](std::string_view name, uint64_t) { use_text(name); });
  elf.for_each_relative([](uint64_t, uint64_t addend) { use(addend); });
  const uint64_t text = binary.module_data().text;
  use(elf.relocated(text, 256));
  use(elf.note("Go", gobin::kNoteGoBuildId));
  use(binary.global("runtime.mheap_"));
  use(binary.probe_sites().sampled());
  use(binary.probe_sites().exact());
  std::vector<uint64_t> pcs;
  for (uint64_t offset = 0; offset < 0x400; offset += 5) {
    pcs.push_back(text + offset);
    use(binary.function_at(text + offset));
    if (const auto frame = binary.symbolizer().frame_of(text + offset)) use_text(frame->source.file);
    use(binary.symbolizer().callee_before(text + offset));
  }
  for (const auto& location : binary.symbolizer().locations_of_return_addresses(pcs))
    for (const auto& frame : location.frames) use_text(frame.function);
  use(binary.symbolizer().locations_of_logical_stack(pcs));
  use(binary.symbolizer().logical_stack(pcs));
  for (uint32_t index = 0; index < 8; ++index) use(binary.symbolizer().functions_inlined_into(index));
}

}  // namespace goheapd::fuzz

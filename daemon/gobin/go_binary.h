// A recognised Go executable file: everything goheapd knows of it without a running process.
//
//   path ──▶ ElfFile ──▶ BuildInfo ──▶ RuntimeLayout ─┐
//                └─────▶ Pclntab ─────────────────────┼──▶ GoBinary (immutable, thread safe, one for all
//                └─────▶ ModuleData ──────────────────┘      │       processes of the file)
//                                                            ├─ symbolizer  pc -> functions, files, lines
//                                                            ├─ function    name -> machine code
//                                                            ├─ globals     addresses of runtime variables
//                                                            ├─ probe_sites where to put probes
//                                                            └─ layout      Go struct offsets of this version
//
// All addresses here are link-time virtual addresses (vaddr); a process adds its load bias.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/base/byte_view.h"
#include "daemon/base/expected.h"
#include "daemon/base/open_file.h"
#include "daemon/gobin/build_info.h"
#include "daemon/gobin/elf_file.h"
#include "daemon/gobin/function_code.h"
#include "daemon/gobin/globals.h"
#include "daemon/gobin/go_version.h"
#include "daemon/gobin/module_data.h"
#include "daemon/gobin/pclntab.h"
#include "daemon/gobin/probe_sites.h"
#include "daemon/gobin/runtime_layout.h"
#include "daemon/gobin/symbolizer.h"

namespace goheapd::gobin {

struct BinaryInfo {
  GoVersion version;
  std::string main_package;  // "path" of the build info
  std::string module;        // "mod" path, may be empty
  std::string module_version;
  Arch arch = Arch::amd64;
  bool pie = false;
  bool stripped = false;       // no symbol table
  bool external_link = false;  // cgo / system linker
  bool has_section_headers = true;
  bool has_build_info = true;  // false: the version was proven from code (see build_info_from_code)
  std::string gnu_build_id;    // hex, may be empty
  std::string go_build_id;     // may be empty
};

class GoBinary {
 public:
  // Opens and recognises. Errors: not ELF, not Go, broken tables, a Go version or architecture that is
  // refused (the message says which and why). `path` may be /proc/PID/exe; the file stays mapped afterwards.
  static Expected<std::shared_ptr<const GoBinary>> open(const std::string& path);
  static Expected<std::shared_ptr<const GoBinary>> open(const OpenFile& file);
  // The same for bytes that the caller keeps alive as long as the GoBinary.
  static Expected<std::shared_ptr<const GoBinary>> recognize(ByteView file);

  ~GoBinary();
  GoBinary(const GoBinary&) = delete;
  GoBinary& operator=(const GoBinary&) = delete;

  const BinaryInfo& info() const;
  const ElfFile& elf() const;
  const Pclntab& pclntab() const;
  const ModuleData& module_data() const;
  const RuntimeLayout& layout() const;
  const Symbolizer& symbolizer() const;

  // By full name. Names of the runtime's packages are looked up in an index made at the first call; any other
  // name walks the whole function table.
  std::optional<FunctionCode> function(std::string_view name) const;
  // The function that covers a vaddr.
  std::optional<FunctionCode> function_at(uint64_t pc) const;

  // Addresses of the runtime's variables, from symbols and from code; searched at the first call.
  const Globals& globals() const;
  // Vaddr of one of them by its Go name ("runtime.mheap_").
  Expected<uint64_t> global(std::string_view name) const { return globals().address(name); }

  // Instructions that can carry probes; searched at the first call.
  const ProbeSites& probe_sites() const;

  // Vaddr that file offset 0 is loaded at: bias = mapped start of file offset 0 - this.
  uint64_t load_base() const;
  // True if the program can keep memory profiles. If not, its linker has set runtime.disableMemoryProfiling
  // and the sampler never runs.
  // https://github.com/golang/go/blob/go1.24.4/src/cmd/link/internal/ld/lib.go#L904
  bool links_memory_profile() const;

  // Lets the kernel drop the file's pages from our resident set; the next use reads them again.
  void release_pages() const;

 private:
  GoBinary();
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace goheapd::gobin

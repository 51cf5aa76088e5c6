// A recognised Go executable file: everything goheapd knows of it without a running process.
//
//   path ──▶ ElfFile ──▶ BuildInfo ─┐
//                └────▶ Pclntab ────┼──▶ GoBinary (immutable, thread safe, shared by all processes of the file)
//                └────▶ ModuleData ─┘       ├─ symbolizer: pc -> functions, files, lines, inlining
//                                           ├─ layout:     Go struct offsets of this version and architecture
//                                           ├─ globals:    addresses of runtime variables
//                                           └─ sites:      where to put probes
// All addresses here are link-time virtual addresses (vaddr); a process adds its load bias.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/gobin/go_version.h"

namespace goheapd::gobin {

struct BinaryInfo {
  GoVersion version;
  std::string main_package;       // "path" of the build info
  std::string module;             // "mod" path, may be empty
  std::string module_version;
  Arch arch = Arch::amd64;
  bool pie = false;
  bool stripped = false;          // no symbol table
  bool external_link = false;     // cgo / system linker
  bool has_section_headers = true;
  std::string gnu_build_id;       // hex, may be empty
  std::string go_build_id;        // may be empty
};

class Symbolizer;
struct RuntimeLayout;
class ProbeSites;

class GoBinary {
 public:
  // Opens and recognises. Errors: not ELF, not Go, broken tables, a Go version or architecture that is refused
  // (the message says which and why). `path` may be /proc/PID/exe; the file stays mapped afterwards.
  static Expected<std::shared_ptr<const GoBinary>> open(const std::string& path);
  virtual ~GoBinary() = default;

  virtual const BinaryInfo& info() const = 0;
  virtual const Symbolizer& symbolizer() const = 0;
  virtual const RuntimeLayout& layout() const = 0;
  virtual const ProbeSites& probe_sites() const = 0;   // computed at the first call

  // Vaddr of a runtime variable by its Go name ("runtime.mheap_"), from symbols or from code.
  virtual Expected<uint64_t> global(std::string_view name) const = 0;
  // Vaddr that file offset 0 is loaded at: bias = mapped start of file offset 0 - this.
  virtual uint64_t load_base() const = 0;
  // True if the program can keep memory profiles (runtime.MemProfile / memProfileInternal is linked).
  virtual bool links_memory_profile() const = 0;
};

}  // namespace goheapd::gobin

// runtime.firstmoduledata: the record by which a Go program finds its own tables. It is also how we find them where
// section headers and symbols are gone:
//
//   pclntab ──▶ {address of pclntab, address of its function names} ──▶ moduledata ──▶ text, gofunc (inline trees),
//   (magic)     its first two words, searched in writable data, or                     types, ...
//               among the relocations of a position independent executable
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/base/byte_view.h"
#include "daemon/base/expected.h"
#include "daemon/gobin/elf_file.h"
#include "daemon/gobin/pclntab.h"
#include "daemon/gobin/runtime_layout.h"

namespace goheapd::gobin {

// Where the function table and the moduledata that vouches for it are. All vaddrs are link-time.
struct RuntimeTables {
  uint64_t pclntab = 0;
  ByteView pclntab_bytes;  // from the header to the end of its segment
  Pclntab::Header header;
  uint64_t module_data = 0;
  uint64_t text_start = 0;  // moduledata.text
};

// By section name, else by magic. Errors: no table; a table of an unsupported Go; none that a moduledata
// refers to.
Expected<RuntimeTables> find_runtime_tables(const ElfFile& elf);

struct ModuleData {
  uint64_t vaddr = 0;
  uint64_t text = 0, etext = 0;
  uint64_t noptrdata = 0, enoptrdata = 0;
  uint64_t data = 0, edata = 0;
  uint64_t bss = 0, ebss = 0;
  uint64_t noptrbss = 0, enoptrbss = 0;
  uint64_t types = 0, etypes = 0;  // type descriptors: the base of name and type offsets
  uint64_t rodata = 0;
  uint64_t gofunc = 0;  // base of function data, among it the inline trees
  std::vector<TextMap::Section> text_sections;
};

// Errors: broken or not of this layout (pointers that contradict the function table).
Expected<ModuleData> read_module_data(const ElfFile& elf, const RuntimeTables& tables,
                                      const RuntimeLayout& layout);

}  // namespace goheapd::gobin

#include "daemon/gobin/go_marks.h"

#include <cerrno>

#include "daemon/base/mapped_file.h"
#include "daemon/gobin/build_info.h"
#include "daemon/gobin/elf_file.h"
#include "daemon/gobin/module_data.h"

namespace goheapd::gobin {

bool may_be_go(const std::string& path) {
  const auto file = OpenFile::open(path);
  // Whose process has just gone, or for which we have no descriptor left, may be anything.
  if (!file) return file.error().errno_value != EACCES && file.error().errno_value != EPERM;
  return may_be_go(**file);
}

bool may_be_go(const OpenFile& file) {
  const auto mapped = MappedFile::map(file);
  if (!mapped) return true;
  const auto elf = ElfFile::parse(mapped->bytes());
  return elf && may_be_go(*elf);
}

bool may_be_go(const ElfFile& elf) {
  if (elf.has_section_headers()) {
    for (const char* section : {".go.buildinfo", ".gopclntab", ".data.rel.ro.gopclntab"}) {
      if (elf.section(section) != nullptr) return true;
    }
    return elf.note("Go", kNoteGoBuildId).has_value();
  }
  return has_build_info(elf) || find_runtime_tables(elf).has_value();
}

}  // namespace goheapd::gobin

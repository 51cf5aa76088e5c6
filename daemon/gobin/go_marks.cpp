#include "daemon/gobin/go_marks.h"

#include "daemon/base/mapped_file.h"
#include "daemon/gobin/build_info.h"
#include "daemon/gobin/elf_file.h"

namespace goheapd::gobin {

bool may_be_go(const std::string& path) {
  auto file = MappedFile::open(path);
  if (!file) return false;
  auto elf = ElfFile::parse(file->bytes());
  if (!elf) return false;
  if (elf->has_section_headers()) {
    for (const char* section :
         {".go.buildinfo", ".gopclntab", ".data.rel.ro.gopclntab", ".note.go.buildid"}) {
      if (elf->section(section) != nullptr) return true;
    }
    return false;
  }
  return has_build_info(*elf);
}

}  // namespace goheapd::gobin

#pragma once

#include <string>

#include "daemon/base/open_file.h"
#include "daemon/gobin/elf_file.h"

namespace goheapd::gobin {

// A quick look at a file: does anything in it say that Go's linker made it? Reads headers only where there are
// section headers. A file that cannot be opened may be one, unless we are not allowed to. True does not mean that GoBinary::open will take it; false means that it is nothing of ours.
bool may_be_go(const std::string& path);
bool may_be_go(const OpenFile& file);
bool may_be_go(const ElfFile& elf);

}  // namespace goheapd::gobin

#pragma once

#include <cstdint>
#include <string>

#include "daemon/base/byte_view.h"
#include "daemon/base/expected.h"
#include "daemon/base/open_file.h"

namespace goheapd {

// A whole file, mapped read-only and private; the mapping outlives the file's name and the process that ran
// it. A file that shrinks while mapped would raise SIGBUS on access; executables that run cannot be truncated
// (ETXTBSY), which is the only kind we map for long.
class MappedFile {
 public:
  static Expected<MappedFile> open(const std::string& path);
  // The mapping needs the descriptor no longer than this call.
  static Expected<MappedFile> map(const OpenFile& file);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  ByteView bytes() const { return ByteView(data_, size_); }
  // Tells the kernel that the pages read so far may be dropped from our resident set.
  void release_pages() const;

  // Pages of all mapped files that had vanished when they were read, since the start of this process.
  static uint64_t vanished_pages();

 private:
  MappedFile() = default;
  const void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace goheapd

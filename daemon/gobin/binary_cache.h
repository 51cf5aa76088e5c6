#pragma once

#include <sys/types.h>

#include <compare>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>

#include "daemon/base/expected.h"
#include "daemon/gobin/go_binary.h"

namespace goheapd::gobin {

// Recognises each executable file once, however many processes run it, under however many names.
//
//   /proc/PID/exe ──stat──▶ {device, inode, size, times} ──known?──▶ the same GoBinary, or the same refusal
//                                      │ new
//                                      └─▶ GoBinary::open ──▶ same content as a known one (build ids, size, code)?
//                                                             share that: containers see one image layer under many
//                                                             device numbers
//
// Binaries stay for a while after their last process is gone, so that a program that is started again and
// again is not read again and again. Refusals are remembered too: most executables of a host are not Go's.
// Thread safe; a file is opened outside of the lock, so two threads may open the same new file once each.
class BinaryCache {
 public:
  // Limits of what is kept without a user: the binaries that nobody else holds, and the refusals.
  explicit BinaryCache(size_t max_unused = 16, size_t max_refusals = 4096);

  Expected<std::shared_ptr<const GoBinary>> open(const std::string& path);

  size_t size() const;

 private:
  struct FileKey {
    uint64_t device = 0;
    uint64_t inode = 0;
    uint64_t size = 0;
    int64_t modified_ns = 0;
    int64_t changed_ns = 0;
    auto operator<=>(const FileKey&) const = default;
  };
  // Of the content; equal for copies of a file.
  using ContentKey = std::tuple<std::string, std::string, uint64_t, uint64_t>;
  struct Binary {
    FileKey file;
    ContentKey content;
    std::shared_ptr<const GoBinary> binary;
  };
  struct Refusal {
    FileKey file;
    Error error;
  };

  static Expected<FileKey> key_of(const std::string& path);
  static ContentKey content_of(const GoBinary& binary, uint64_t file_size);
  void drop_surplus();

  const size_t max_unused_;
  const size_t max_refusals_;
  mutable std::mutex mutex_;
  // Most recently used first; the maps point into the lists.
  std::list<Binary> binaries_;
  std::list<Refusal> refusals_;
  std::map<FileKey, std::list<Binary>::iterator> by_file_;
  std::map<FileKey, std::list<Refusal>::iterator> refused_;
};

}  // namespace goheapd::gobin

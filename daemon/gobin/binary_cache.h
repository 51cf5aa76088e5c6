#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>

#include "daemon/base/expected.h"
#include "daemon/base/open_file.h"
#include "daemon/gobin/go_binary.h"

namespace goheapd::gobin {

// A recognised program and the file that it was recognised in.
struct Executable {
  std::shared_ptr<const OpenFile> file;
  std::shared_ptr<const GoBinary> binary;
};

// Recognises each executable file once, however many processes run it, under however many names.
//
//   /proc/PID/exe ──open──▶ {device, inode, size, times} ──known?──▶ the same GoBinary, or the same refusal
//                                      │ new
//                                      └─▶ GoBinary::open ──▶ same content as a known one (build ids, size, code)?
//                                                             share that: containers see one image layer under many
//                                                             device numbers
//
// All of this is said of the file that is open, never of its path, which may lead elsewhere a moment later. Of each file
// there is one descriptor, as long as somebody holds it: a GoBinary may be that of a copy, but probes go into files.
//
// Binaries stay for a while after their last process is gone, so that a program that is started again and
// again is not read again and again. Refusals are remembered too: most executables of a host are not Go's.
// Thread safe; a file is opened outside of the lock, so two threads may open the same new file once each.
class BinaryCache {
 public:
  // Limits of what is kept without a user: the binaries that nobody else holds, and the refusals.
  explicit BinaryCache(size_t max_unused = 16, size_t max_refusals = 4096);

  // The file of the answer is `file` or an earlier descriptor of the same.
  Expected<Executable> open(std::shared_ptr<const OpenFile> file);

  size_t size() const;

 private:
  using FileKey = OpenFile::Identity;
  // Of the content; equal for copies of a file.
  using ContentKey = std::tuple<std::string, std::string, uint64_t, uint64_t>;
  struct Binary {
    FileKey file;
    ContentKey content;
    std::shared_ptr<const GoBinary> binary;
    std::weak_ptr<const OpenFile>
        open;  // would keep a container's file system from being unmounted if it were ours
  };
  struct Refusal {
    FileKey file;
    Error error;
  };

  static ContentKey content_of(const GoBinary& binary, uint64_t file_size);
  static std::shared_ptr<const OpenFile> shared(Binary& known, const std::shared_ptr<const OpenFile>& file);
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

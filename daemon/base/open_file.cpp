#include "daemon/base/open_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

namespace goheapd {
namespace {

int64_t nanoseconds(const timespec& time) { return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

OpenFile::Identity identity_of(const struct stat& status) {
  return {status.st_dev, status.st_ino, static_cast<uint64_t>(status.st_size), nanoseconds(status.st_mtim),
          nanoseconds(status.st_ctim)};
}

}  // namespace

Expected<std::shared_ptr<const OpenFile>> OpenFile::open(const std::string& path) {
  // Without O_NONBLOCK a pipe by that name would keep us until somebody writes to it.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fail("cannot open file", path, errno);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return fail("cannot stat file", path, errno);
  if (!S_ISREG(status.st_mode)) return fail("not a regular file", path);
  std::shared_ptr<OpenFile> file(new OpenFile(std::move(fd), path));
  file->identity_ = identity_of(status);
  return file;
}

Expected<OpenFile::Identity> OpenFile::identity_now() const {
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) return fail("cannot stat file", name_, errno);
  return identity_of(status);
}

Expected<bool> OpenFile::is_at(const std::string& other) const {
  const auto own = identity_now();
  if (!own) return Unexpected(own.error());
  struct stat status {};
  if (::stat(other.c_str(), &status) != 0) return fail("cannot stat file", other, errno);
  return own->device == status.st_dev && own->inode == status.st_ino;
}

}  // namespace goheapd

#include "daemon/base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "daemon/base/unique_fd.h"

namespace goheapd {

Expected<MappedFile> MappedFile::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail("cannot open file", path, errno);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return fail("cannot stat file", path, errno);
  if (!S_ISREG(status.st_mode)) return fail("not a regular file", path);
  MappedFile file;
  file.device_ = status.st_dev;
  file.inode_ = status.st_ino;
  if (status.st_size > 0) {
    void* data = ::mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (data == MAP_FAILED) return fail("cannot map file", path, errno);
    file.data_ = data;
    file.size_ = static_cast<size_t>(status.st_size);
  }
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      device_(other.device_),
      inode_(other.inode_) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<void*>(data_), size_);
}

void MappedFile::release_pages() const {
  if (data_ != nullptr) ::madvise(const_cast<void*>(data_), size_, MADV_DONTNEED);
}

}  // namespace goheapd

#include "daemon/base/output_file.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "daemon/base/unique_fd.h"

namespace goheapd {
namespace {

using std::filesystem::path;

// As many as the kernel follows.
constexpr int kMaxLinks = 40;
// Names are random: that even one is taken is chance.
constexpr int kMaxNames = 16;

Unexpected cannot_write(const path& file, int error) { return fail("cannot write", file.string(), error); }

Expected<void> write_all(int fd, std::string_view bytes, const path& name) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return cannot_write(name, errno);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

// Some file systems (NFS, quotas) say only now that there is no room.
Expected<void> close_written(UniqueFd file, const path& name) {
  if (::close(file.release()) != 0) return cannot_write(name, errno);
  return {};
}

bool same_file(const struct stat& one, const struct stat& other) {
  return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

// What a chain of links ends at, be it there or not.
Expected<path> end_of_links(path file) {
  for (int links = 0; links < kMaxLinks; ++links) {
    std::error_code none;
    const path target = std::filesystem::read_symlink(file, none);
    if (none) return file;
    file = file.parent_path() / target;
  }
  return cannot_write(file, ELOOP);
}

struct Destination {
  path file;
  bool is_replaced = true;  // else it is written into
};

Expected<Destination> destination_of(const path& file) {
  if (!file.has_filename()) return cannot_write(file, file.empty() ? ENOENT : EISDIR);
  // By the kernel's own way through links, which refuses those that strangers have laid out in /tmp.
  struct stat found {};
  const bool exists = ::stat(file.c_str(), &found) == 0;
  if (!exists && errno != ENOENT) return cannot_write(file, errno);
  if (exists && S_ISDIR(found.st_mode)) return cannot_write(file, EISDIR);
  if (exists && S_ISSOCK(found.st_mode)) return cannot_write(file, ENXIO);
  if (exists && !S_ISREG(found.st_mode)) return Destination{file, false};
  auto end = end_of_links(file);
  if (!end) return Unexpected(end.error());
  // A link of /proc/PID/fd leads to files that have another name by now, or none.
  struct stat at_end {};
  if (exists && (::lstat(end->c_str(), &at_end) != 0 || !same_file(found, at_end)))
    return Destination{file, false};
  return Destination{*std::move(end), true};
}

Expected<void> write_into(const path& file, std::string_view bytes) {
  // Of those that are no regular files O_TRUNC says nothing.
  UniqueFd fd(::open(file.c_str(), O_WRONLY | O_TRUNC | O_NOCTTY | O_CLOEXEC));
  if (!fd) return cannot_write(file, errno);
  if (auto written = write_all(fd.get(), bytes, file); !written) return written;
  return close_written(std::move(fd), file);
}

// In a folder where nothing can be put beside it a file may be writable all the same.
bool is_all_that_can_be_written(const path& file, const Error& of_folder) {
  return (of_folder.errno_value == EACCES || of_folder.errno_value == EROFS) &&
         ::access(file.c_str(), W_OK) == 0;
}

// Beside `file`, open for writing.
class TemporaryFile {
 public:
  static Expected<TemporaryFile> beside(const path& file) {
    for (int names = 0; names < kMaxNames; ++names) {
      uint64_t number = 0;
      if (::getrandom(&number, sizeof number, 0) != sizeof number) return cannot_write(file, errno);
      std::array<char, 48> name{};
      std::snprintf(name.data(), name.size(), ".goheapd-%016llx.part",
                    static_cast<unsigned long long>(number));
      const path temporary = file.parent_path() / name.data();
      // Exclusive: neither what is there nor what a link of that name leads to is touched.
      UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
      if (fd) return TemporaryFile(temporary, std::move(fd));
      if (errno != EEXIST) return cannot_write(file, errno);
    }
    return cannot_write(file, EEXIST);
  }
  TemporaryFile(TemporaryFile&& other) noexcept
      : name_(std::exchange(other.name_, {})), fd_(std::move(other.fd_)) {}
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile() {
    if (!name_.empty()) ::unlink(name_.c_str());
  }

  // Takes over the mode and the owner of what is there: a file that was made private stays so.
  Expected<void> become(const path& file, std::string_view bytes) {
    struct stat found {};
    if (::stat(file.c_str(), &found) == 0) {
      // Not the mode for a group that is another one.
      const bool is_theirs = ::fchown(fd_.get(), found.st_uid, found.st_gid) == 0;
      if (::fchmod(fd_.get(), found.st_mode & (is_theirs ? 0777 : 0700)) != 0)
        return cannot_write(file, errno);
    }
    if (auto written = write_all(fd_.get(), bytes, file); !written) return written;
    if (auto closed = close_written(std::move(fd_), file); !closed) return closed;
    if (::rename(name_.c_str(), file.c_str()) == 0) {
      name_.clear();
      return {};
    }
    int error = errno;
    // A file that was handed to a container is mounted on its name there.
    if (error == EBUSY) {
      const auto written = write_into(file, bytes);
      if (written) return {};
      error = written.error().errno_value;
    }
    const std::string kept = std::exchange(name_, {}).string();
    return fail("cannot write", file.string() + " (all of it is in " + kept + ")", error);
  }

 private:
  TemporaryFile(path name, UniqueFd fd) : name_(std::move(name)), fd_(std::move(fd)) {}
  path name_;  // empty: it is no longer ours
  UniqueFd fd_;
};

}  // namespace

Expected<void> write_output_file(const std::string& file, std::string_view bytes) {
  const auto destination = destination_of(file);
  if (!destination) return Unexpected(destination.error());
  if (!destination->is_replaced) return write_into(destination->file, bytes);
  auto temporary = TemporaryFile::beside(destination->file);
  if (!temporary && is_all_that_can_be_written(destination->file, temporary.error()))
    return write_into(destination->file, bytes);
  if (!temporary) return Unexpected(temporary.error());
  return temporary->become(destination->file, bytes);
}

Expected<void> check_output_file(const std::string& file) {
  const auto destination = destination_of(file);
  if (!destination) return Unexpected(destination.error());
  if (destination->is_replaced) {
    if (auto temporary = TemporaryFile::beside(destination->file);
        !temporary && !is_all_that_can_be_written(destination->file, temporary.error()))
      return Unexpected(temporary.error());
    return {};
  }
  // Not by opening it: a FIFO's reader would take that for all there is, and a device might do something.
  if (::access(file.c_str(), W_OK) != 0) return cannot_write(file, errno);
  return {};
}

Expected<void> print(std::string_view text) { return write_all(STDOUT_FILENO, text, "standard output"); }

}  // namespace goheapd

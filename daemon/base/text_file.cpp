#include "daemon/base/text_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/base/unique_fd.h"

namespace goheapd {

Expected<std::string> read_text_file(const std::string& path, size_t max_bytes) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return fail("cannot be read", path, errno);
  // Its size says nothing: pipes and /proc have none.
  std::string text;
  for (;;) {
    const size_t before = text.size();
    text.resize(before + 4096);
    const ssize_t got = ::read(file.get(), text.data() + before, 4096);
    if (got < 0 && errno != EINTR) return fail("cannot be read", path, errno);
    text.resize(before + (got > 0 ? static_cast<size_t>(got) : 0));
    if (got == 0) return text;
    if (text.size() > max_bytes) return fail("is too large", path, EFBIG);
  }
}

}  // namespace goheapd

#include "daemon/gobin/binary_cache.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace goheapd::gobin {
namespace {

constexpr uint64_t kHashedBytes = 64 * 1024;

// FNV-1a. Guards against files whose build id was set by hand, not against an attacker.
uint64_t hash_of(ByteView bytes) {
  uint64_t hash = 14695981039346656037u;
  for (std::byte byte : bytes.bytes()) hash = (hash ^ std::to_integer<uint64_t>(byte)) * 1099511628211u;
  return hash;
}

int64_t nanoseconds(const timespec& time) { return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

}  // namespace

BinaryCache::BinaryCache(size_t max_unused, size_t max_refusals)
    : max_unused_(max_unused), max_refusals_(max_refusals) {}

Expected<std::shared_ptr<const GoBinary>> BinaryCache::open(const std::string& path) {
  auto key = key_of(path);
  if (!key) return Unexpected(key.error());
  {
    std::lock_guard lock(mutex_);
    if (auto found = by_file_.find(*key); found != by_file_.end()) {
      binaries_.splice(binaries_.begin(), binaries_, found->second);
      return found->second->binary;
    }
    if (auto found = refused_.find(*key); found != refused_.end()) {
      refusals_.splice(refusals_.begin(), refusals_, found->second);
      return Unexpected(found->second->error);
    }
  }
  auto binary = GoBinary::open(path);
  std::lock_guard lock(mutex_);
  if (!binary) {
    // A file that could not be opened may be readable the next time.
    if (binary.error().errno_value == 0 && !refused_.contains(*key)) {
      refusals_.push_front({*key, binary.error()});
      refused_[*key] = refusals_.begin();
      drop_surplus();
    }
    return binary;
  }
  const ContentKey content = content_of(**binary, key->size);
  auto same = std::find_if(binaries_.begin(), binaries_.end(),
                           [&](const Binary& known) { return known.content == content; });
  const std::shared_ptr<const GoBinary> result = same != binaries_.end() ? same->binary : *binary;
  if (!by_file_.contains(*key)) {
    binaries_.push_front({*key, content, result});
    by_file_[*key] = binaries_.begin();
    drop_surplus();
  }
  return result;
}

size_t BinaryCache::size() const {
  std::lock_guard lock(mutex_);
  return binaries_.size();
}

Expected<BinaryCache::FileKey> BinaryCache::key_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return fail("cannot stat file", path, errno);
  return FileKey{status.st_dev, status.st_ino, static_cast<uint64_t>(status.st_size),
                 nanoseconds(status.st_mtim), nanoseconds(status.st_ctim)};
}

BinaryCache::ContentKey BinaryCache::content_of(const GoBinary& binary, uint64_t file_size) {
  // The build id covers the sources; the beginning of the code tells builds apart that were given one id by
  // hand.
  const ByteView text = binary.elf().bytes_from(binary.module_data().text).value_or(ByteView());
  const ByteView start(text.data(), std::min<uint64_t>(text.size(), kHashedBytes));
  ContentKey key{binary.info().go_build_id, binary.info().gnu_build_id, file_size, hash_of(start)};
  binary.release_pages();
  return key;
}

void BinaryCache::drop_surplus() {
  while (refusals_.size() > max_refusals_) {
    refused_.erase(refusals_.back().file);
    refusals_.pop_back();
  }
  // One GoBinary may be here under several files: count users beyond the cache's own.
  auto own_count = [&](const Binary& entry) {
    return std::count_if(binaries_.begin(), binaries_.end(),
                         [&](const Binary& other) { return other.binary == entry.binary; });
  };
  size_t unused = 0;
  for (auto entry = binaries_.begin(); entry != binaries_.end();) {
    const bool used = entry->binary.use_count() > own_count(*entry);
    if (used || ++unused <= max_unused_) {
      ++entry;
      continue;
    }
    by_file_.erase(entry->file);
    entry = binaries_.erase(entry);
  }
}

}  // namespace goheapd::gobin

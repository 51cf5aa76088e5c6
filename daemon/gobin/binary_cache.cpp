#include "daemon/gobin/binary_cache.h"

#include <algorithm>
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

}  // namespace

BinaryCache::BinaryCache(size_t max_unused, size_t max_refusals)
    : max_unused_(max_unused), max_refusals_(max_refusals) {}

Expected<Executable> BinaryCache::open(std::shared_ptr<const OpenFile> file) {
  const FileKey& key = file->identity();
  {
    std::lock_guard lock(mutex_);
    if (auto found = by_file_.find(key); found != by_file_.end()) {
      binaries_.splice(binaries_.begin(), binaries_, found->second);
      return Executable{shared(*found->second, file), found->second->binary};
    }
    if (auto found = refused_.find(key); found != refused_.end()) {
      refusals_.splice(refusals_.begin(), refusals_, found->second);
      return Unexpected(found->second->error);
    }
  }
  auto binary = GoBinary::open(*file);
  // What was written to while it was read is not what the key says.
  const bool is_same = file->identity_now() == key;
  std::lock_guard lock(mutex_);
  if (!binary) {
    // A file that could not be mapped may be the next time.
    if (is_same && binary.error().errno_value == 0 && !refused_.contains(key)) {
      refusals_.push_front({key, binary.error()});
      refused_[key] = refusals_.begin();
      drop_surplus();
    }
    return Unexpected(binary.error());
  }
  if (!is_same) return Executable{std::move(file), std::move(*binary)};
  if (auto found = by_file_.find(key); found != by_file_.end()) {  // another thread was faster
    return Executable{shared(*found->second, file), found->second->binary};
  }
  const ContentKey content = content_of(**binary, key.size);
  auto same = std::find_if(binaries_.begin(), binaries_.end(),
                           [&](const Binary& known) { return known.content == content; });
  Executable result{file, same != binaries_.end() ? same->binary : *binary};
  binaries_.push_front({key, content, result.binary, file});
  by_file_[key] = binaries_.begin();
  drop_surplus();
  return result;
}

std::shared_ptr<const OpenFile> BinaryCache::shared(Binary& known,
                                                    const std::shared_ptr<const OpenFile>& file) {
  if (auto earlier = known.open.lock()) return earlier;
  known.open = file;
  return file;
}

size_t BinaryCache::size() const {
  std::lock_guard lock(mutex_);
  return binaries_.size();
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

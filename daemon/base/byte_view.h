// The one way goheapd reads bytes it did not write: Go binaries, other processes' memory, ring records.
// Little endian throughout (amd64 and arm64 Linux are).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace goheapd {

// A bounds-checked, non-owning view. No read can leave the view: it returns nullopt instead.
class ByteView {
 public:
  ByteView() = default;
  explicit ByteView(std::span<const std::byte> bytes) : bytes_(bytes) {}
  ByteView(const void* data, size_t size) : bytes_(static_cast<const std::byte*>(data), size) {}

  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  const std::byte* data() const { return bytes_.data(); }
  std::span<const std::byte> bytes() const { return bytes_; }

  // Overflow-safe: offset and length may be anything a hostile file says.
  bool contains(uint64_t offset, uint64_t length) const {
    return offset <= bytes_.size() && length <= bytes_.size() - offset;
  }

  template <typename T>
  std::optional<T> read(uint64_t offset) const {
    static_assert(std::is_trivially_copyable_v<T>);
    if (!contains(offset, sizeof(T))) return std::nullopt;
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof(T));
    return value;
  }

  std::optional<ByteView> slice(uint64_t offset, uint64_t length) const {
    if (!contains(offset, length)) return std::nullopt;
    return ByteView(bytes_.subspan(offset, length));
  }

  // The view from offset to the end.
  std::optional<ByteView> from(uint64_t offset) const {
    if (offset > bytes_.size()) return std::nullopt;
    return ByteView(bytes_.subspan(offset));
  }

  // A NUL-terminated string that ends inside the view.
  std::optional<std::string_view> c_string(uint64_t offset) const {
    if (offset >= bytes_.size()) return std::nullopt;
    const auto* start = reinterpret_cast<const char*>(bytes_.data() + offset);
    const auto* end = static_cast<const char*>(std::memchr(start, 0, bytes_.size() - offset));
    if (end == nullptr) return std::nullopt;
    return std::string_view(start, static_cast<size_t>(end - start));
  }

  struct Uvarint {
    uint64_t value;
    uint64_t next;  // offset of the first byte behind it
  };
  // Go's unsigned LEB128, at most 10 bytes.
  std::optional<Uvarint> uvarint(uint64_t offset) const {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7, ++offset) {
      auto byte = read<uint8_t>(offset);
      if (!byte) return std::nullopt;
      value |= static_cast<uint64_t>(*byte & 0x7f) << shift;
      if ((*byte & 0x80) == 0) return Uvarint{value, offset + 1};
    }
    return std::nullopt;
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace goheapd

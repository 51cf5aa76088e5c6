#include "daemon/runtime/page_window.h"

#include <array>
#include <cerrno>
#include <string>

namespace goheapd::runtime {

Expected<ByteView> PageWindow::view(uint64_t address, uint64_t size) {
  const auto fault = [&] {
    return fail("cannot read process memory", "pid " + std::to_string(memory_->pid()), EFAULT);
  };
  if (size == 0) return ByteView();
  if (size > kMaxView || address > UINT64_MAX - kPages * kPageBytes) return fault();

  if (address < begin_ || address + size > end_) {
    const uint64_t end = (address + size + kPageBytes - 1) / kPageBytes * kPageBytes;
    std::array<process::MemoryPiece, kPages> pieces;
    size_t count = 0;
    for (; count < kPages && end >= (count + 1) * kPageBytes; ++count) {
      pieces[count] = {end - (count + 1) * kPageBytes,
                       std::span(buffer_).subspan(buffer_.size() - (count + 1) * kPageBytes, kPageBytes)};
    }
    begin_ = end_ = 0;
    const auto complete = memory_->read(std::span(pieces).first(count));
    if (!complete) return Unexpected(complete.error());
    size_t valid = 0;
    while (valid < count && pieces[valid].complete) ++valid;
    begin_ = end - valid * kPageBytes;
    end_ = end;
    if (address < begin_) return fault();
  }
  return ByteView(buffer_.data() + (buffer_.size() - (end_ - address)), size);
}

}  // namespace goheapd::runtime

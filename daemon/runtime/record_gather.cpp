#include "daemon/runtime/record_gather.h"

#include <algorithm>

namespace goheapd::runtime {
namespace {

// A gap is cheaper to copy than to leave out. Below a page, so that no page is touched that holds no record.
constexpr uint64_t kMaxGap = 2048;
constexpr size_t kBatchBytes = 1u << 20;
constexpr size_t kBatchRanges = 1024;  // what one system call takes

struct Range {
  uint64_t begin;
  uint64_t end;
  size_t first;  // records [first, last) lie in it
  size_t last;
};

}  // namespace

Expected<size_t> RecordGather::fetch(std::span<const uint64_t> addresses) {
  std::vector<Range> ranges;
  size_t bytes = 0;
  size_t count = 0;
  for (; count < addresses.size(); ++count) {
    const uint64_t begin = addresses[count];
    // An address so high that the record wraps around: an empty range, which marks it as not mapped.
    const uint64_t end = std::max(begin, begin + record_bytes_);
    if (!ranges.empty()) {
      Range& range = ranges.back();
      const bool near = begin >= range.begin && begin - std::min(begin, range.end) <= kMaxGap;
      if (near && end > begin) {
        const uint64_t longer = end > range.end ? end - range.end : 0;
        if (bytes + longer > kBatchBytes) break;
        range.end += longer;
        range.last = count + 1;
        bytes += longer;
        continue;
      }
    }
    if (ranges.size() == kBatchRanges || (count > 0 && bytes + (end - begin) > kBatchBytes)) break;
    ranges.push_back({begin, end, count, count + 1});
    bytes += end - begin;
  }

  // The buffer holds the ranges, and behind them room for the records of ranges that must be read one by one.
  buffer_.resize(bytes);
  pieces_.clear();
  size_t offset = 0;
  for (const Range& range : ranges) {
    pieces_.push_back({range.begin, std::span(buffer_).subspan(offset, range.end - range.begin)});
    offset += range.end - range.begin;
  }
  const auto complete = memory_->read(pieces_);
  if (!complete) return Unexpected(complete.error());

  records_.assign(count, ByteView());
  for (size_t i = 0; i < ranges.size(); ++i) {
    const Range& range = ranges[i];
    for (size_t record = range.first; record < range.last; ++record) {
      if (range.end - range.begin < record_bytes_) continue;
      const auto into = pieces_[i].into.subspan(addresses[record] - range.begin, record_bytes_);
      // A hole somewhere in the range must not hide the records on its sides. Overlapping records read the same
      // memory, so writing one does not spoil another.
      if (!pieces_[i].complete && !memory_->read(addresses[record], into)) continue;
      records_[record] = ByteView(into);
    }
  }
  return count;
}

}  // namespace goheapd::runtime

#include "daemon/base/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <new>

namespace goheapd {

std::string gzip(std::string_view bytes) {
  z_stream stream{};
  constexpr int kGzipWindow = MAX_WBITS + 16;  // +16: a gzip header, whose time is 0 unless it is set
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzipWindow, MAX_MEM_LEVEL, Z_DEFAULT_STRATEGY) !=
      Z_OK) {
    throw std::bad_alloc();
  }
  std::string packed;
  try {
    packed.resize(deflateBound(&stream, bytes.size()));
  } catch (...) {
    deflateEnd(&stream);
    throw;
  }
  size_t taken = 0;
  size_t given = 0;
  // zlib counts in 32 bits: larger inputs go in pieces. deflateBound has promised that the output fits.
  for (int result = Z_OK; result == Z_OK;) {
    const size_t piece = std::min<size_t>(bytes.size() - taken, std::numeric_limits<uInt>::max());
    const size_t room = std::min<size_t>(packed.size() - given, std::numeric_limits<uInt>::max());
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data() + taken));  // zlib only reads it
    stream.avail_in = static_cast<uInt>(piece);
    stream.next_out = reinterpret_cast<Bytef*>(packed.data() + given);
    stream.avail_out = static_cast<uInt>(room);
    result = deflate(&stream, taken + piece == bytes.size() ? Z_FINISH : Z_NO_FLUSH);
    taken += piece - stream.avail_in;
    given += room - stream.avail_out;
  }
  deflateEnd(&stream);
  packed.resize(given);
  packed.shrink_to_fit();  // what is packed may wait for long: for whoever reads it
  return packed;
}

}  // namespace goheapd

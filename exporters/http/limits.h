// What a client may send, and how long it may take.
#pragma once

#include <chrono>
#include <cstddef>

namespace goheapd::exporters::http {

// Longer heads are answered 431. The parser takes a head in at most three pieces (request line, what came with
// it, the rest) and holds each to this limit, so a client that sends slowly gets a little more.
inline constexpr size_t kMaxHeadBytes = 16 * 1024;
// Longer targets are answered 414.
inline constexpr size_t kMaxTargetBytes = 4 * 1024;
// Answered on one connection before it is closed.
inline constexpr int kMaxRequests = 1000;
// Of large answers that are being sent, all connections together.
inline constexpr size_t kMaxHeldBytes = size_t{64} << 20;

// A client that misses one of these is cut off.
struct Deadlines {
  std::chrono::milliseconds handshake{10'000};
  std::chrono::milliseconds first_byte{10'000};  // from the connection to its first request
  std::chrono::milliseconds idle{30'000};        // from an answer to the next request
  std::chrono::milliseconds head{10'000};        // from its first byte to its last, however slowly they come
  std::chrono::milliseconds write{30'000};       // all of an answer
  std::chrono::milliseconds scarce_write{
      5'000};  // the same, while others wait for the memory that answers take
};

}  // namespace goheapd::exporters::http

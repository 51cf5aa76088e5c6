#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>

#include "daemon/base/expected.h"
#include "daemon/base/unique_fd.h"

namespace goheapd {

// A regular file, opened once and then always that one, whatever its path comes to mean: /proc/PID/exe leads to another
// file as soon as the process executes another program.
//
//   path ──open──▶ descriptor ──▶ identity, bytes, mappings, and path(): a name that leads the kernel to this very file
//
// Whoever shares it shares the descriptor.
class OpenFile {
 public:
  // Device and inode name a file while something holds it open, the rest tells a later file or content from it.
  struct Identity {
    uint64_t device = 0;
    uint64_t inode = 0;
    uint64_t size = 0;
    int64_t modified_ns = 0;
    int64_t changed_ns = 0;
    auto operator<=>(const Identity&) const = default;
  };

  // Errors carry errno, but for what is no regular file.
  static Expected<std::shared_ptr<const OpenFile>> open(const std::string& path);

  int fd() const { return fd_.get(); }
  // When it was opened.
  const Identity& identity() const { return identity_; }
  // Now: a file can be written to, and one of an overlay gets other numbers when it is copied up.
  Expected<Identity> identity_now() const;
  // Does `other` lead to this file at present?
  Expected<bool> is_at(const std::string& other) const;
  // The path by which it was opened, for messages.
  const std::string& name() const { return name_; }
  // For calls that take a path, in any thread of this process.
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_.get()); }

 private:
  OpenFile(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}

  UniqueFd fd_;
  std::string name_;
  Identity identity_;
};

}  // namespace goheapd

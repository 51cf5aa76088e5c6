// The way a function says that it failed: Expected<T> holds a T or an Error made of facts.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace goheapd {

// What went wrong, with what, and the kernel's errno (0 = none). `what` is a sentence part in lower case that
// tells a user what to do where there is something to do.
struct Error {
  std::string what;
  std::string subject;
  int errno_value = 0;
};

template <typename T>
using Expected = tl::expected<T, Error>;
using Unexpected = tl::unexpected<Error>;

inline Unexpected fail(std::string what, std::string subject = {}, int errno_value = 0) {
  return Unexpected(Error{std::move(what), std::move(subject), errno_value});
}

// "what: subject: strerror" as one line.
std::string to_string(const Error& error);

}  // namespace goheapd

#include "daemon/base/expected.h"

#include <system_error>

namespace goheapd {

std::string to_string(const Error& error) {
  std::string text = error.what;
  if (!error.subject.empty()) text += ": " + error.subject;
  // generic_category().message is thread safe, strerror is not.
  if (error.errno_value != 0) text += ": " + std::generic_category().message(error.errno_value);
  return text;
}

}  // namespace goheapd

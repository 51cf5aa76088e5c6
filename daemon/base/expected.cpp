#include "daemon/base/expected.h"

#include <cerrno>
#include <system_error>

namespace goheapd {

std::string to_string(const Error& error) {
  std::string text = error.what;
  if (!error.subject.empty()) text += ": " + error.subject;
  // generic_category().message is thread safe, strerror is not.
  if (error.errno_value != 0) text += ": " + std::generic_category().message(error.errno_value);
  // It may come of anything that is opened, and says nothing of where the limit is.
  if (error.errno_value == EMFILE) text += " (raise LimitNOFILE= or ulimit -n)";
  return text;
}

}  // namespace goheapd

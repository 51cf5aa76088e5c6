#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "daemon/base/expected.h"

namespace re2 {
class RE2;
}

namespace goheapd {

// A regular expression of an operator, tried on names that strangers chose: RE2, which takes time linear in the text and
// memory that is bounded, whatever both are. The syntax is that of Go and Prometheus; `.` is any character, a line
// break too, so that no name slips by. Text is UTF-8: bytes that are not match nothing. Cheap to copy, thread safe.
class Pattern {
 public:
  // What is no regular expression, or one that needs too much memory, is an error with the reason.
  static Expected<Pattern> parse(std::string_view text);

  // Whether it matches anywhere in `text`.
  bool is_in(std::string_view text) const;

  struct Match {
    size_t position;  // bytes
    size_t length;    // bytes, never 0
  };
  // All that match, from the left, without overlaps. Empty matches are none.
  std::vector<Match> matches(std::string_view text) const;

 private:
  explicit Pattern(std::shared_ptr<const re2::RE2> compiled);

  std::shared_ptr<const re2::RE2> compiled_;
};

}  // namespace goheapd

#include "daemon/base/pattern.h"

#include <re2/re2.h>

#include <string>
#include <utility>

namespace goheapd {
namespace {

// Bytes for one pattern, its tables for what it was tried on included. A hundred words in an alternation need 30 KiB.
constexpr int64_t kMaxPatternBytes = 2 << 20;

}  // namespace

Pattern::Pattern(std::shared_ptr<const re2::RE2> compiled) : compiled_(std::move(compiled)) {}

Expected<Pattern> Pattern::parse(std::string_view text) {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_dot_nl(true);
  options.set_max_mem(kMaxPatternBytes);
  auto compiled = std::make_shared<const RE2>(re2::StringPiece(text.data(), text.size()), options);
  if (!compiled->ok()) {
    return fail("not a regular expression (" + compiled->error() + ")", std::string(text));
  }
  return Pattern(std::move(compiled));
}

bool Pattern::is_in(std::string_view text) const {
  return RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *compiled_);
}

std::vector<Pattern::Match> Pattern::matches(std::string_view text) const {
  std::vector<Match> found;
  const re2::StringPiece whole(text.data(), text.size());
  re2::StringPiece match;
  for (size_t begin = 0; begin < text.size();) {
    if (!compiled_->Match(whole, begin, text.size(), RE2::UNANCHORED, &match, 1)) break;
    const auto position = static_cast<size_t>(match.data() - text.data());
    if (!match.empty()) found.push_back({position, match.size()});
    // After an empty match, one byte further: within a character nothing can match.
    begin = position + (match.empty() ? 1 : match.size());
  }
  return found;
}

}  // namespace goheapd

#include "daemon/base/yaml.h"

#include <algorithm>
#include <string_view>

#include "daemon/base/utf8.h"

namespace goheapd {
namespace {

bool is_marker(std::string_view line, std::string_view marker) {
  return line.starts_with(marker) && (line.size() == marker.size() || line[marker.size()] == ' ' ||
                                      line[marker.size()] == '\t' || line[marker.size()] == '\r');
}

bool is_content(std::string_view line) {
  const size_t first = line.find_first_not_of(" \t\r");
  return first != std::string_view::npos && line[first] != '#' && line[0] != '%';
}

// yaml-cpp finds a second document only by loading all, which does not end where a document begins with a tag and has
// nothing else. Nothing but a marker of a document can begin a line with one, not even text within a literal block.
bool has_second_document(std::string_view text) {
  bool begun = false;
  bool ended = false;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (is_marker(line, "...")) {
      ended = begun;
    } else if (is_marker(line, "---")) {
      if (begun) return true;
      begun = true;
    } else if (is_content(line)) {
      if (ended) return true;
      begun = true;
    }
  }
  return false;
}

std::string with_number(size_t line) { return " (line " + std::to_string(line) + ")"; }

}  // namespace

std::string on_line(const YAML::Mark& mark) {
  return mark.is_null() ? std::string() : with_number(static_cast<size_t>(mark.line) + 1);
}

Expected<YAML::Node> load_yaml(const std::string& text) {
  if (const auto line = line_of_unprintable(text)) return fail("it is no text" + with_number(*line));
  if (has_second_document(text)) return fail("more than one YAML document");
  try {
    return YAML::Load(text);
  } catch (const YAML::Exception& error) {
    return fail(error.msg + on_line(error.mark));
  }
}

}  // namespace goheapd

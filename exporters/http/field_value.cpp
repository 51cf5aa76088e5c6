#include "exporters/http/field_value.h"

#include <cstdlib>

namespace goheapd::exporters::http {
namespace {

// Takes off what is before the next `separator`, and that.
std::string_view take_until(std::string_view& text, char separator) {
  const size_t end = text.find(separator);
  const std::string_view taken = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  return taken;
}

double quality(std::string_view parameters) {
  while (!parameters.empty()) {
    const std::string_view parameter = trimmed(take_until(parameters, ';'));
    const size_t equals = parameter.find('=');
    if (equals == std::string_view::npos || lower_case(trimmed(parameter.substr(0, equals))) != "q") continue;
    return std::strtod(std::string(trimmed(parameter.substr(equals + 1))).c_str(), nullptr);
  }
  return 1;
}

}  // namespace

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::vector<Preference> preferences(std::string_view field) {
  std::vector<Preference> found;
  while (!field.empty()) {
    std::string_view element = take_until(field, ',');
    const std::string_view name = trimmed(take_until(element, ';'));
    if (!name.empty()) found.push_back({lower_case(name), quality(element)});
  }
  return found;
}

}  // namespace goheapd::exporters::http

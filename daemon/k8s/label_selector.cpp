#include "daemon/k8s/label_selector.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace goheapd::k8s {
namespace {

constexpr std::string_view kWordCharacters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./";

void skip_blanks(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
}

bool take(std::string_view& text, std::string_view token) {
  skip_blanks(text);
  if (!text.starts_with(token)) return false;
  text.remove_prefix(token.size());
  return true;
}

// May be empty: "key=" asks for an empty value.
std::string take_word(std::string_view& text) {
  skip_blanks(text);
  const auto end = std::min(text.find_first_not_of(kWordCharacters), text.size());
  std::string word(text.substr(0, end));
  text.remove_prefix(end);
  return word;
}

std::optional<std::vector<std::string>> take_set(std::string_view& text) {
  if (!take(text, "(")) return std::nullopt;
  std::vector<std::string> values;
  do {
    values.push_back(take_word(text));
  } while (take(text, ","));
  if (!take(text, ")")) return std::nullopt;
  return values;
}

}  // namespace

Expected<LabelSelector> LabelSelector::parse(std::string_view text) {
  const std::string whole(text);
  const auto refuse = [&whole](std::string what) {
    return fail("not a label selector (" + std::move(what) + ")", whole);
  };
  LabelSelector selector;
  do {
    Requirement requirement;
    const bool negated = take(text, "!");
    requirement.key = take_word(text);
    if (requirement.key.empty()) return refuse("a key is missing");
    if (negated) {
      requirement.op = Operator::absent;
    } else if (take(text, "!=")) {
      requirement.op = Operator::not_in;
      requirement.values = {take_word(text)};
    } else if (take(text, "==") || take(text, "=")) {
      requirement.op = Operator::in;
      requirement.values = {take_word(text)};
    } else if (const std::string word = take_word(text); !word.empty()) {
      if (word != "in" && word != "notin") return refuse("in or notin instead of " + word);
      auto values = take_set(text);
      if (!values) return refuse("values belong in brackets: key in (a, b)");
      requirement.op = word == "in" ? Operator::in : Operator::not_in;
      requirement.values = std::move(*values);
    }
    selector.requirements_.push_back(std::move(requirement));
  } while (take(text, ","));
  skip_blanks(text);
  if (!text.empty()) return refuse("what is " + std::string(text) + "?");
  return selector;
}

bool LabelSelector::matches(const std::map<std::string, std::string>& labels) const {
  return std::all_of(requirements_.begin(), requirements_.end(), [&](const Requirement& requirement) {
    const auto label = labels.find(requirement.key);
    const bool present = label != labels.end();
    const auto& values = requirement.values;
    const bool listed = present && std::find(values.begin(), values.end(), label->second) != values.end();
    switch (requirement.op) {
      case Operator::in:
        return listed;
      case Operator::not_in:
        return !listed;
      case Operator::exists:
        return present;
      case Operator::absent:
        break;
    }
    return !present;
  });
}

}  // namespace goheapd::k8s

#include "daemon/profile/redactor.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <limits>
#include <utility>

#include "daemon/base/utf8.h"

namespace goheapd::profile {
namespace {

constexpr size_t kMaxKnown = 65536;
constexpr size_t kDigestBytes = 4;
constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();
constexpr const char* kBetweenWords = " \t\n\"'`(),;:";

// The machine's id is the same after a restart; where there is none (containers), names change with each start.
std::string make_host_key() {
  std::string key;
  std::getline(std::ifstream("/etc/machine-id"), key);
  if (key.size() >= 32) return key;
  key.assign(32, '\0');
  RAND_bytes(reinterpret_cast<unsigned char*>(key.data()), static_cast<int>(key.size()));
  return key;
}

// One for all of a process: what the log hides has the same name in a profile.
const std::string& host_key() {
  static const std::string key = make_host_key();
  return key;
}

std::string stand_in(const std::string& key, std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(), &size);
  std::string name = "redacted_";
  for (size_t i = 0; i < kDigestBytes; ++i) {
    std::array<char, 3> hex{};
    std::snprintf(hex.data(), hex.size(), "%02x", digest[i]);
    name += hex.data();
  }
  return name;
}

// No pattern matches across a byte that is not UTF-8, which would show what follows it.
std::string matchable(const std::string& text) { return clean_utf8(text, kNoLimit); }

}  // namespace

Redactor::Redactor(std::vector<Pattern> patterns) : key_(host_key()), patterns_(std::move(patterns)) {}

void Redactor::set_patterns(std::vector<Pattern> patterns) {
  const std::lock_guard lock(mutex_);
  patterns_ = std::move(patterns);
  known_.clear();
}

// Marked first and replaced then, so that no pattern matches what another has put in.
void Redactor::mark(const std::string& text, size_t begin, size_t end, std::vector<bool>& hidden) const {
  const auto part = std::string_view(text).substr(begin, end - begin);
  for (const Pattern& pattern : patterns_) {
    for (const auto& [position, length] : pattern.matches(part))
      std::fill_n(hidden.begin() + static_cast<std::ptrdiff_t>(begin + position), length, true);
  }
}

std::string Redactor::replace_marked(const std::string& text, const std::vector<bool>& hidden) const {
  std::string result;
  for (size_t i = 0; i < text.size();) {
    size_t next = i + 1;
    while (next < text.size() && hidden[next] == hidden[i]) ++next;
    const std::string part = text.substr(i, next - i);
    result += hidden[i] ? stand_in(key_, part) : part;
    i = next;
  }
  return result;
}

std::string Redactor::redact_locked(const std::string& name) const {
  if (patterns_.empty() || name.empty()) return name;
  if (const auto known = known_.find(name); known != known_.end()) return known->second;
  const std::string readable = matchable(name);
  std::vector<bool> hidden(readable.size(), false);
  mark(readable, 0, readable.size(), hidden);
  std::string result = replace_marked(readable, hidden);
  if (known_.size() >= kMaxKnown) known_.clear();
  known_.emplace(name, result);
  return result;
}

// Not remembered: hardly a line comes twice.
std::string Redactor::redact_text_locked(const std::string& raw) const {
  if (patterns_.empty()) return raw;
  const std::string text = matchable(raw);
  std::vector<bool> hidden(text.size(), false);
  mark(text, 0, text.size(), hidden);
  for (size_t begin = text.find_first_not_of(kBetweenWords); begin != std::string::npos;) {
    const size_t end = std::min(text.find_first_of(kBetweenWords, begin), text.size());
    mark(text, begin, end, hidden);
    begin = text.find_first_not_of(kBetweenWords, end);
  }
  return replace_marked(text, hidden);
}

std::string Redactor::redact_text(const std::string& text) const {
  const std::lock_guard lock(mutex_);
  return redact_text_locked(text);
}

std::string Redactor::redact(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  return redact_locked(name);
}

model::HeapSnapshotPtr Redactor::redact(model::HeapSnapshotPtr snapshot) const {
  const std::lock_guard lock(mutex_);
  if (patterns_.empty()) return snapshot;
  auto copy = std::make_shared<model::HeapSnapshot>(*snapshot);
  const auto hide = [this](std::string& name) { name = redact_locked(name); };
  hide(copy->comm);
  for (std::string& comment : copy->comments) comment = redact_text_locked(comment);
  for (model::Function& function : copy->functions) {
    hide(function.name);
    hide(function.file);
  }
  for (model::Mapping& mapping : copy->mappings) hide(mapping.file);
  for (model::Sample& sample : copy->samples) {
    for (auto& [key, value] : sample.labels) {
      hide(key);
      hide(value);
    }
    std::sort(sample.labels.begin(), sample.labels.end());
  }
  return copy;
}

void Redactor::redact(model::TargetStatus& status) const {
  const std::lock_guard lock(mutex_);
  if (patterns_.empty()) return;
  const auto hide = [this](std::string& name) { name = redact_locked(name); };
  for (std::string* name : {&status.comm, &status.exe, &status.program_path, &status.module, &status.pod,
                            &status.namespace_name, &status.container})
    hide(*name);
  status.reason = redact_text_locked(status.reason);
  for (std::string& site : status.uncertain_sites) hide(site);
  for (model::TargetStatus::Site& site : status.top_sites) site.function = redact_locked(site.function);
  if (status.pod_facts == nullptr) return;
  auto pod = std::make_shared<model::Pod>(*status.pod_facts);
  for (auto* texts : {&pod->labels, &pod->annotations}) {
    std::map<std::string, std::string> hidden;
    for (const auto& [key, value] : *texts) hidden.emplace(redact_locked(key), redact_locked(value));
    *texts = std::move(hidden);
  }
  for (std::string* name : {&pod->namespace_name, &pod->name, &pod->node, &pod->controller.name,
                            &pod->controller.kind, &pod->workload.name, &pod->workload.kind})
    hide(*name);
  for (model::PodContainer& container : pod->containers) hide(container.name);
  status.pod_facts = std::move(pod);
}

}  // namespace goheapd::profile

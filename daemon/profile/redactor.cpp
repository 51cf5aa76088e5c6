#include "daemon/profile/redactor.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <utility>

namespace goheapd::profile {
namespace {

// The regular expressions of the standard library recurse over the text, so longer names are hidden whole.
constexpr size_t kMaxMatchedBytes = 4096;
constexpr size_t kMaxKnown = 65536;
constexpr size_t kDigestBytes = 4;

// The machine's id is the same after a restart; where there is none (containers), names change with each start.
std::string host_key() {
  std::string key;
  std::getline(std::ifstream("/etc/machine-id"), key);
  if (key.size() >= 32) return key;
  key.assign(32, '\0');
  RAND_bytes(reinterpret_cast<unsigned char*>(key.data()), static_cast<int>(key.size()));
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

}  // namespace

Redactor::Redactor(std::vector<std::regex> patterns) : key_(host_key()), patterns_(std::move(patterns)) {}

void Redactor::set_patterns(std::vector<std::regex> patterns) {
  const std::lock_guard lock(mutex_);
  patterns_ = std::move(patterns);
  known_.clear();
}

std::string Redactor::redact_locked(const std::string& name) const {
  if (patterns_.empty() || name.empty()) return name;
  if (const auto known = known_.find(name); known != known_.end()) return known->second;
  std::string result = name.size() > kMaxMatchedBytes ? stand_in(key_, name) : name;
  if (name.size() <= kMaxMatchedBytes) {
    // Marked first and replaced then, so that no pattern matches what another has put in.
    std::vector<bool> hidden(name.size(), false);
    for (const std::regex& pattern : patterns_) {
      for (std::sregex_iterator match(name.begin(), name.end(), pattern), end; match != end; ++match) {
        std::fill_n(hidden.begin() + match->position(), match->length(), true);
      }
    }
    result.clear();
    for (size_t i = 0; i < name.size();) {
      size_t next = i + 1;
      while (next < name.size() && hidden[next] == hidden[i]) ++next;
      const std::string part = name.substr(i, next - i);
      result += hidden[i] ? stand_in(key_, part) : part;
      i = next;
    }
  }
  if (known_.size() >= kMaxKnown) known_.clear();
  known_.emplace(name, result);
  return result;
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
  for (std::string& comment : copy->comments) hide(comment);
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
  for (std::string* name : {&status.comm, &status.exe, &status.module, &status.reason})
    *name = redact_locked(*name);
  for (model::TargetStatus::Site& site : status.top_sites) site.function = redact_locked(site.function);
  if (status.pod_facts == nullptr) return;
  auto pod = std::make_shared<model::Pod>(*status.pod_facts);
  for (auto* texts : {&pod->labels, &pod->annotations}) {
    std::map<std::string, std::string> hidden;
    for (const auto& [key, value] : *texts) hidden.emplace(redact_locked(key), redact_locked(value));
    *texts = std::move(hidden);
  }
  status.pod_facts = std::move(pod);
}

}  // namespace goheapd::profile

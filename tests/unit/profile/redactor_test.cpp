#include "daemon/profile/redactor.h"

#include <gtest/gtest.h>

namespace goheapd::profile {
namespace {

std::vector<Pattern> patterns(std::initializer_list<const char*> texts) {
  std::vector<Pattern> result;
  for (const char* text : texts) result.push_back(Pattern::parse(text).value());
  return result;
}

TEST(Redactor, HidesMatchesAlikeEverywhere) {
  const Redactor redactor(patterns({"acme/[a-z]+", "secret"}));
  const std::string name = redactor.redact("acme/vault.(*Store).open");
  EXPECT_EQ(name.find("vault"), std::string::npos);
  EXPECT_TRUE(name.starts_with("redacted_"));
  EXPECT_TRUE(name.ends_with(".(*Store).open"));
  EXPECT_EQ(redactor.redact("acme/vault.Close"), name.substr(0, 17) + ".Close");
  EXPECT_NE(redactor.redact("acme/other.Close"), redactor.redact("acme/vault.Close"));
  EXPECT_EQ(redactor.redact("main.main"), "main.main");
  // The same in another daemon of this host, if the host has an id that stays.
  EXPECT_EQ(redactor.redact(""), "");
}

TEST(Redactor, JoinsMatchesThatOverlap) {
  const Redactor redactor(patterns({"abcd", "cdef"}));
  const std::string name = redactor.redact("xabcdefx");
  EXPECT_EQ(name.size(), std::string("xredacted_01234567x").size());
  EXPECT_TRUE(name.starts_with("xredacted_") && name.ends_with("x")) << name;
}

TEST(Redactor, TakesAnyNameAndPattern) {
  const Redactor redactor(patterns({"", "x*", "[0-9]+"}));
  EXPECT_EQ(redactor.redact("abc"), "abc");
  EXPECT_TRUE(redactor.redact("a1b").starts_with("aredacted_"));
  EXPECT_EQ(redactor.redact(std::string(1 << 20, 'x')).size(), std::string("redacted_01234567").size());
  const std::string broken = Redactor(patterns({"secret.*"})).redact("a.secret\xff\xfe.key");
  EXPECT_EQ(broken.size(), std::string("a.redacted_01234567").size()) << broken;
}

TEST(Redactor, CoversSnapshotsAndStatuses) {
  const Redactor redactor(patterns({"secret"}));
  model::HeapSnapshot snapshot;
  snapshot.comm = "secretd";
  snapshot.comments = {"pod secret/web-0"};
  snapshot.functions = {{"secret.F", "/src/secret/f.go", 1}};
  snapshot.mappings = {{0, 0, 0, "/usr/bin/secretd", ""}};
  snapshot.samples.resize(1);
  snapshot.samples[0].labels = {{"secret", "a"}, {"type", "secret.T"}};
  const auto hidden = redactor.redact(std::make_shared<const model::HeapSnapshot>(snapshot));
  model::TargetStatus status;
  status.comm = status.exe = status.module = "secret";
  status.top_sites = {{"secret.F", 1, 2}};
  model::Pod pod;
  pod.labels = {{"secret", "x"}};
  pod.annotations = {{"y", "secret"}};
  pod.namespace_name = pod.name = pod.node = "secret-1";
  pod.controller = {"ReplicaSet", "secret-5d9f"};
  pod.workload = {"Deployment", "secret"};
  pod.containers = {{"secret", ""}};
  status.pod = status.namespace_name = status.container = "secret";
  status.reason = "cannot read: /opt/secret/x";
  status.pod_facts = std::make_shared<const model::Pod>(pod);
  redactor.redact(status);

  std::string all = hidden->comm + hidden->comments[0] + hidden->functions[0].name +
                    hidden->functions[0].file + hidden->mappings[0].file + status.comm + status.exe +
                    status.module + status.top_sites[0].function;
  for (const auto& [key, value] : hidden->samples[0].labels) all += key + value;
  for (const auto& [key, value] : status.pod_facts->labels) all += key + value;
  for (const auto& [key, value] : status.pod_facts->annotations) all += key + value;
  const model::Pod& facts = *status.pod_facts;
  all += facts.namespace_name + facts.name + facts.node + facts.controller.name + facts.workload.name +
         facts.containers[0].name + status.pod + status.namespace_name + status.container + status.reason;
  EXPECT_EQ(all.find("secret"), std::string::npos) << all;
  EXPECT_EQ(status.namespace_name, status.pod);
  EXPECT_EQ(facts.workload.name, status.pod);
  EXPECT_EQ(status.top_sites[0].function, hidden->functions[0].name);
}

// Log lines: a pattern that is about a whole name hides the name within.
TEST(Redactor, HidesWordsOfSentences) {
  const Redactor redactor(patterns({"^/opt/.*$", "^shop$"}));
  const std::string line = redactor.redact_text("pid 7 (shop, /opt/x y): attached; shopping goes on: 'shop'");
  const std::string shop = redactor.redact("shop");
  EXPECT_EQ(line, "pid 7 (" + shop + ", " + redactor.redact("/opt/x") + " y): attached; shopping goes on: '" +
                      shop + "'");
  EXPECT_EQ(redactor.redact_text(""), "");
  EXPECT_EQ(redactor.redact_text(" (,"), " (,");
  const std::string longer(1 << 20, 'a');
  EXPECT_EQ(redactor.redact_text(longer + " shop"), longer + " " + shop);
}

TEST(Redactor, OneDigestInAllOfAProcess) {
  EXPECT_EQ(Redactor(patterns({"a"})).redact("a"), Redactor(patterns({"a|b"})).redact_text("a"));
}

TEST(Redactor, WithoutPatternsCostsNothing) {
  Redactor redactor;
  const auto snapshot = std::make_shared<const model::HeapSnapshot>();
  EXPECT_EQ(redactor.redact(snapshot), snapshot);
  redactor.set_patterns(patterns({"main"}));
  EXPECT_NE(redactor.redact("main.main"), "main.main");
  redactor.set_patterns({});
  EXPECT_EQ(redactor.redact("main.main"), "main.main");
}

}  // namespace
}  // namespace goheapd::profile

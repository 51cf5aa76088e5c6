#include "daemon/cli/serve_options.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace goheapd::cli {
namespace {

class ServeOptionsTest : public ::testing::Test {
 protected:
  ~ServeOptionsTest() override { std::filesystem::remove(path_); }

  Expected<ServeOptions> parse(std::vector<std::string> flags, const std::string& config = {}) {
    std::vector<const char*> argv{"goheapd", "serve"};
    if (!config.empty()) {
      std::ofstream(path_) << config;
      flags.push_back("--config=" + path_);
    }
    for (const std::string& flag : flags) argv.push_back(flag.c_str());
    return parse_serve_options(static_cast<int>(argv.size()), argv.data());
  }

  std::string path_ = ::testing::TempDir() + "serve_options_" +
                      ::testing::UnitTest::GetInstance()->current_test_info()->name() + ".yml";
};

TEST_F(ServeOptionsTest, Defaults) {
  auto options = parse({});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->listen_addresses, std::vector<std::string>{"127.0.0.1:9786"});
  EXPECT_EQ(options->parsed_mode(), model::Mode::automatic);
  EXPECT_DOUBLE_EQ(options->overhead_budget_percent, 1);
}

TEST_F(ServeOptionsTest, EveryFlagIsAConfigKey) {
  auto options = parse({}, R"(
web.listen-address: ["127.0.0.1:1", "[::1]:2"]
mode: exact
pid: [12, 34]
include: ^/usr/bin/
exclude: [a, b]
overhead-budget: 2.5
log.level: debug
log.format: json
top-sites: 5
exited-retention: 2m
)");
  ASSERT_TRUE(options) << to_string(options.error());
  EXPECT_EQ(options->listen_addresses, (std::vector<std::string>{"127.0.0.1:1", "[::1]:2"}));
  EXPECT_EQ(options->parsed_mode(), model::Mode::exact);
  EXPECT_EQ(options->pids, (std::vector<int>{12, 34}));
  EXPECT_EQ(options->include, std::vector<std::string>{"^/usr/bin/"});
  EXPECT_EQ(options->exclude.size(), 2u);
  EXPECT_DOUBLE_EQ(options->overhead_budget_percent, 2.5);
  EXPECT_EQ(options->log_format, "json");
  EXPECT_EQ(options->top_sites, 5u);
  EXPECT_DOUBLE_EQ(options->exited_retention_seconds, 120);
}

TEST_F(ServeOptionsTest, AnEmptyListIsNone) {
  for (const char* key :
       {"pid", "include", "exclude", "redact", "allow-runtime-sampling", "kubernetes.namespace",
        "kubernetes.exclude-namespace", "kubernetes.pod-selector"}) {
    const auto options = parse({}, std::string(key) + ": []\nmode: exact\n");
    ASSERT_TRUE(options) << key << ": " << to_string(options.error());
    EXPECT_TRUE(options->pids.empty() && options->include.empty() && options->exclude.empty() &&
                options->redact.empty() && options->allow_runtime_sampling.empty() &&
                options->namespaces.empty() && options->excluded_namespaces.empty() &&
                options->pod_selectors.empty())
        << key;
    EXPECT_EQ(options->parsed_mode(), model::Mode::exact) << key;
  }
  EXPECT_EQ(parse({"--exclude=a"}, "exclude: []\n")->exclude, std::vector<std::string>{"a"});
  const auto nowhere = parse({}, "mode: exact\nweb.listen-address: []\n");
  ASSERT_FALSE(nowhere);
  EXPECT_NE(to_string(nowhere.error()).find("web.listen-address: needs at least one value (line 2)"),
            std::string::npos)
      << to_string(nowhere.error());
  for (const char* key : {"mode", "live-heap", "top-sites", "seccomp.off", "data-dir"}) {
    const auto single = parse({}, std::string(key) + ": []\n");
    ASSERT_FALSE(single) << key;
    EXPECT_NE(to_string(single.error()).find(std::string(key) + ": takes one value (line 1)"),
              std::string::npos)
        << to_string(single.error());
  }
}

TEST_F(ServeOptionsTest, ATimeNeedsAUnit) {
  const auto options = parse({}, "exited-retention: 600\n");
  ASSERT_FALSE(options);
  EXPECT_NE(to_string(options.error()).find("600 has no unit: write 600s"), std::string::npos)
      << to_string(options.error());
  const auto none = parse({"--exited-retention=0"});
  ASSERT_TRUE(none) << to_string(none.error());
  EXPECT_DOUBLE_EQ(none->exited_retention_seconds, 0);
}

TEST_F(ServeOptionsTest, TheCommandLineWins) {
  auto options = parse({"--mode=buckets", "--pid=7"}, "mode: exact\npid: [1, 2]\nlog.level: warn\n");
  ASSERT_TRUE(options);
  EXPECT_EQ(options->parsed_mode(), model::Mode::buckets);
  EXPECT_EQ(options->pids, std::vector<int>{7});
  EXPECT_EQ(options->log_level, "warn");
}

TEST_F(ServeOptionsTest, ErrorsNameKeyAndLine) {
  auto unknown = parse({}, "mode: exact\nmodus: exact\n");
  ASSERT_FALSE(unknown);
  EXPECT_NE(to_string(unknown.error()).find("modus: unknown key (line 2)"), std::string::npos)
      << to_string(unknown.error());
  auto bad = parse({}, "overhead-budget: lots\n");
  ASSERT_FALSE(bad);
  EXPECT_NE(to_string(bad.error()).find("overhead-budget"), std::string::npos) << to_string(bad.error());
  auto mode = parse({}, "mode: fast\n");
  ASSERT_FALSE(mode);
  EXPECT_NE(to_string(mode.error()).find(": mode: fast not in"), std::string::npos)
      << to_string(mode.error());
  EXPECT_FALSE(parse({}, "mode: [exact, sampled]\n"));
  EXPECT_FALSE(parse({}, "- a\n- b\n"));
  EXPECT_FALSE(parse({}, "mode: {a: b}\n"));
  EXPECT_FALSE(parse({}, "mode: [\n"));
  EXPECT_FALSE(parse({}, "mode: exact\nmode: exact\n"));
  EXPECT_FALSE(parse({"--config=/nonexistent/goheapd.yml"}));
}

TEST_F(ServeOptionsTest, AKeyWithoutAValueIsNamedWithItsOwnLine) {
  for (const char* rest : {"", "\n", "\n\n# more\nlog.level: info\n"}) {
    for (const char* key : {"mode:", "exclude:", "modus:"}) {
      const auto bad = parse({}, std::string(key) + rest);
      ASSERT_FALSE(bad) << key;
      EXPECT_NE(to_string(bad.error()).find("(line 1)"), std::string::npos) << to_string(bad.error());
    }
  }
}

// Patterns and addresses, too: of some hundred in a file it must be told which one it is.
TEST_F(ServeOptionsTest, AValueThatCannotBeReadIsNamedWithKeyAndLine) {
  for (const char* key : {"include", "exclude", "redact", "allow-runtime-sampling"}) {
    const auto bad = parse({}, std::string("mode: auto\n\n") + key + ": ['fine', '(']\n");
    ASSERT_FALSE(bad) << key;
    const std::string text = to_string(bad.error());
    EXPECT_NE(text.find(path_ + ": " + key + ": not a regular expression"), std::string::npos) << text;
    EXPECT_NE(text.find("): ( (line 3)"), std::string::npos) << text;
    const auto flag = parse({std::string("--") + key + "=("});
    ASSERT_FALSE(flag) << key;
    EXPECT_NE(to_string(flag.error()).find(std::string("--") + key + ": not a regular expression"),
              std::string::npos)
        << to_string(flag.error());
  }
  for (const auto& [key, value] :
       {std::pair{"web.listen-address", "nonsense"}, std::pair{"kubernetes.pod-selector", "'app in shop'"}}) {
    const auto bad = parse({}, std::string("mode: auto\n") + key + ": " + value + "\n");
    ASSERT_FALSE(bad) << key;
    const std::string text = to_string(bad.error());
    EXPECT_NE(text.find(path_ + ": " + key + ": "), std::string::npos) << text;
    EXPECT_NE(text.find("(line 2)"), std::string::npos) << text;
  }
}

TEST_F(ServeOptionsTest, RecordsOfARuntimeMayTakeSoManyMebibytes) {
  EXPECT_EQ(parse({})->runtime_sampling_memory_mib, 16u);
  EXPECT_EQ(parse({}, "runtime-sampling-memory: 64\n")->runtime_sampling_memory_mib, 64u);
  EXPECT_FALSE(parse({"--runtime-sampling-memory=1"}));  // the runtime's table alone takes more
}

TEST_F(ServeOptionsTest, SaysWhatIsTakenAtStartOnly) {
  const auto at_start = parse({}, "mode: exact\ndata-dir: /var/lib/a\n");
  const auto now = parse({}, "mode: sampled\ndata-dir: /var/lib/b\nkubernetes.node: n\ntop-sites: 3\n");
  ASSERT_TRUE(at_start && now);
  EXPECT_EQ(changed_start_values(*at_start, *now), (std::vector<std::string>{"data-dir", "kubernetes.node"}));
  EXPECT_TRUE(changed_start_values(*now, *now).empty());
  const auto writes = parse({}, "mode: exact\ndata-dir: /var/lib/a\nallow-runtime-sampling: [a]\n");
  ASSERT_TRUE(writes);
  EXPECT_EQ(changed_start_values(*at_start, *writes), std::vector<std::string>{"allow-runtime-sampling"});
  EXPECT_TRUE(changed_start_values(*writes, *at_start).empty());
}

TEST_F(ServeOptionsTest, NumbersAreNumbers) {
  for (const std::string number : {"nan", "-nan", "NaN", "inf", "-inf", "1e999"}) {
    EXPECT_FALSE(parse({"--overhead-budget=" + number})) << number;
    EXPECT_FALSE(parse({}, "overhead-budget: " + number + "\n")) << number;
    EXPECT_FALSE(parse({"--exited-retention=" + number + "s"})) << number;
    EXPECT_FALSE(parse({}, "exited-retention: " + number + "s\n")) << number;
  }
}

TEST_F(ServeOptionsTest, BadFlagsAreRefused) {
  EXPECT_FALSE(parse({"--mode=fast"}));
  EXPECT_FALSE(parse({"--pid=-3"}));
  EXPECT_FALSE(parse({"--overhead-budget=0"}));
  EXPECT_FALSE(parse({"--include=("}));
  // A shell may have made more words of a pattern than was meant.
  EXPECT_FALSE(parse({"--include", "a", "b"}));
  EXPECT_FALSE(parse({"--kubernetes.namespace", "a", "b"}));
  EXPECT_EQ(parse({"--include", "a", "--include", "b"})->include, (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(parse({"--no-such-flag"}));
  EXPECT_FALSE(parse({"--web.listen-address=nonsense"}));
}

}  // namespace
}  // namespace goheapd::cli

#include "daemon/base/yaml.h"

#include <gtest/gtest.h>

namespace goheapd {
namespace {

std::string error_of(const std::string& text) {
  const auto loaded = load_yaml(text);
  return loaded ? "" : loaded.error().what;
}

TEST(Yaml, ReadsOneDocument) {
  EXPECT_TRUE(load_yaml("")->IsNull());
  EXPECT_TRUE(load_yaml("# nothing\n---\n")->IsNull());
  EXPECT_EQ((*load_yaml("%YAML 1.2\n---\na: |\n  --- b\n  ...\n...\n# end\n"))["a"].as<std::string>(),
            "--- b\n...\n");
  EXPECT_EQ((*load_yaml("a: x---\r\nb: 1\r\n"))["b"].as<int>(), 1);
  EXPECT_EQ((*load_yaml("--- {a: 2}"))["a"].as<int>(), 2);
}

TEST(Yaml, RefusesASecondDocument) {
  for (const char* text : {"--- {}\n--- {}", "a: 1\n---\nb: 1\n", "---\na: 1\n---\n", "a: 1\n...\nb: 1\n"})
    EXPECT_EQ(error_of(text), "more than one YAML document") << text;
}

TEST(Yaml, RefusesWhatIsNoText) {
  EXPECT_EQ(error_of("a: 1\nb: \xb8"), "it is no text (line 2)");
  EXPECT_EQ(error_of(std::string("a\0", 2)), "it is no text (line 1)");
}

TEST(Yaml, SaysWhereItIsBroken) {
  EXPECT_TRUE(error_of("a: 1\nb: [1\nc: 2").ends_with("(line 3)")) << error_of("a: 1\nb: [1\nc: 2");
  EXPECT_TRUE(error_of("a: 1\nb: {x").starts_with("end of map flow")) << error_of("a: 1\nb: {x");
}

// Found by the fuzzer: none of these may hang, and each may be refused or not.
TEST(Yaml, AlwaysEnds) {
  for (const std::string& text : {std::string(",Yxcep\xb8"
                                              "5\0\0\0q\n",
                                              13),
                                  std::string("#c\n!tag,!other"), std::string("!tag"), std::string("!")})
    static_cast<void>(load_yaml(text));
  EXPECT_NE(error_of("a: [1"), "");
  EXPECT_NE(error_of(std::string(100'000, '[')), "");
}

}  // namespace
}  // namespace goheapd

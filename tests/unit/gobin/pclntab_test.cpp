#include "daemon/gobin/pclntab.h"

#include <gtest/gtest.h>

#include "daemon/gobin/elf_file.h"
#include "daemon/gobin/module_data.h"
#include "tests/unit/gobin/synthetic_binary.h"

namespace goheapd::gobin {
namespace {

using test::SyntheticBinary;
using test::view_of;

class PclntabTest : public testing::Test {
 protected:
  void SetUp() override {
    auto parsed = ElfFile::parse(view_of(bytes_));
    ASSERT_TRUE(parsed);
    auto tables = find_runtime_tables(*parsed);
    ASSERT_TRUE(tables) << tables.error().what;
    raw_.assign(tables->pclntab_bytes.bytes().begin(), tables->pclntab_bytes.bytes().end());
    text_start_ = tables->text_start;
  }
  Expected<Pclntab> parse() const { return Pclntab::parse(view_of(raw_), 0x404000, TextMap(text_start_)); }
  void patch(size_t at, uint64_t value, size_t size = 8) { std::memcpy(raw_.data() + at, &value, size); }
  uint64_t word(size_t at) const { return *view_of(raw_).read<uint64_t>(at); }

  SyntheticBinary binary_ = SyntheticBinary::ordinary();
  std::vector<std::byte> bytes_ = binary_.build();
  std::vector<std::byte> raw_;
  uint64_t text_start_ = 0;
};

TEST_F(PclntabTest, FindsFunctionsByPcAndName) {
  auto table = parse();
  ASSERT_TRUE(table) << table.error().what;
  EXPECT_EQ(table->function_count(), binary_.functions.size());
  EXPECT_EQ(table->lowest_pc(), SyntheticBinary::kText);
  for (size_t i = 0; i < binary_.functions.size(); ++i) {
    const auto index = static_cast<uint32_t>(i);
    EXPECT_EQ(table->index_of_pc(SyntheticBinary::entry(i)), index);
    EXPECT_EQ(table->index_of_pc(SyntheticBinary::entry(i) + 0x3f), index);
    EXPECT_EQ(table->name(index), binary_.functions[i].name);
    EXPECT_EQ(table->find(binary_.functions[i].name), index);
    EXPECT_EQ(table->range(index)->end, SyntheticBinary::entry(i + 1));
  }
  EXPECT_FALSE(table->index_of_pc(SyntheticBinary::kText - 1));
  EXPECT_FALSE(table->index_of_pc(SyntheticBinary::entry(binary_.functions.size())));
  EXPECT_FALSE(table->index_of_pc(~uint64_t{0}));
  EXPECT_FALSE(table->find("main.mai"));
  EXPECT_FALSE(table->find(""));
  EXPECT_FALSE(table->name(static_cast<uint32_t>(binary_.functions.size())));
  EXPECT_EQ(table->file_name(0, 0), "/src/main.go");
  EXPECT_FALSE(table->file_name(0, 1000000));
  EXPECT_FALSE(table->file_name(~uint32_t{0}, ~uint32_t{0}));
}

TEST_F(PclntabTest, DecodesValuesByPc) {
  auto table = parse();
  ASSERT_TRUE(table);
  auto lines = table->record(1)->read<uint32_t>(24);
  ASSERT_TRUE(lines);
  const std::pair<uint64_t, int32_t> expected[] = {{0, 10},    {0x0f, 10}, {0x10, 31},
                                                   {0x2f, 22}, {0x30, 13}, {0x3f, 13}};
  for (const auto& [delta, line] : expected) EXPECT_EQ(table->pc_value(*lines, delta), line) << delta;
  EXPECT_EQ(table->pc_value(*lines, 0x40), -1);
  EXPECT_EQ(table->pc_value(0, 0), -1);
  EXPECT_EQ(table->pc_value(0xffffff, 0), -1);
}

TEST_F(PclntabTest, RefusesBrokenHeaders) {
  ASSERT_TRUE(parse());
  struct Lie {
    size_t at;
    uint64_t value;
    size_t size;
  };
  const Lie lies[] = {
      {0, 0xfffffffb, 4},               // Go 1.2 to 1.15
      {0, 0xfffffff2, 4},               // a future one
      {4, 1, 1},                        // padding
      {6, 2, 1},                        // no such quantum
      {7, 4, 1},                        // 32 bit
      {8, 0, 8},                        // no functions
      {8, uint64_t{1} << 40, 8},        // more than there can be
      {8, (uint64_t{1} << 61) + 1, 8},  // so many that the size of functab overflows
      {32, word(40) + 1, 8},            // names behind what follows them
      {32, 8, 8},                       // names inside the header
      {64, uint64_t{1} << 40, 8},       // functab outside
      {64, ~uint64_t{0}, 8},
  };
  const auto good = raw_;
  for (const Lie& lie : lies) {
    raw_ = good;
    patch(lie.at, lie.value, lie.size);
    EXPECT_FALSE(parse()) << lie.at << " " << lie.value;
  }
}

TEST_F(PclntabTest, RefusesUnsortedFunctions) {
  const size_t functab = word(64);
  patch(functab + 8, 0x10000, 4);
  auto table = parse();
  ASSERT_FALSE(table);
  EXPECT_NE(table.error().what.find("not sorted"), std::string::npos);
}

TEST_F(PclntabTest, RecordsBeyondTheTableAreAbsent) {
  const size_t functab = word(64);
  patch(functab + 8 + 4, 0xfffffff0, 4);  // record of function 1
  auto table = parse();
  ASSERT_TRUE(table);
  EXPECT_FALSE(table->record(1));
  EXPECT_FALSE(table->name(1));
  EXPECT_FALSE(table->find("main.main"));
  EXPECT_EQ(table->find("runtime.main"), 3u);
}

TEST_F(PclntabTest, EveryTruncationIsAnErrorOrAWorkingTable) {
  const auto good = raw_;
  size_t parsed = 0;
  for (size_t size = 0; size < good.size(); size += size < 4096 ? 1 : 257) {
    raw_.assign(good.begin(), good.begin() + static_cast<ptrdiff_t>(size));
    auto table = parse();
    if (!table) continue;
    ++parsed;
    for (uint32_t i = 0; i < table->function_count(); ++i) (void)table->name(i);
  }
  EXPECT_GT(parsed, 0u);
}

TEST(TextMapTest, SplitTextSections) {
  const TextMap map(0x1000, {{0, 0x100, 0x1000}, {0x100, 0x300, 0x9000}});
  EXPECT_EQ(map.address_of(0xff), 0x10ffu);
  EXPECT_EQ(map.address_of(0x100), 0x9000u);
  EXPECT_EQ(map.address_of(0x300), 0x9200u);  // the end belongs to the last section
  EXPECT_EQ(map.offset_of(0x9000), 0x100u);
  EXPECT_EQ(map.offset_of(0x9200), 0x300u);
  EXPECT_FALSE(map.offset_of(0x2000));
  EXPECT_FALSE(map.offset_of(0x500));
  // One section counts for nothing, as in the runtime.
  const TextMap single(0x1000, {{0, 0x100, 0x7777}});
  EXPECT_EQ(single.address_of(8), 0x1008u);
  EXPECT_EQ(single.offset_of(0x1008), 8u);
}

}  // namespace
}  // namespace goheapd::gobin

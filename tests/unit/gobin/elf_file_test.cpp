#include "daemon/gobin/elf_file.h"

#include <elf.h>
#include <gtest/gtest.h>

#include "tests/unit/gobin/synthetic_binary.h"

namespace goheapd::gobin {
namespace {

using test::SyntheticBinary;
using test::view_of;

template <typename T>
void patch(std::vector<std::byte>& bytes, size_t at, const T& value) {
  ASSERT_LE(at + sizeof(T), bytes.size());
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

std::string refusal(const std::vector<std::byte>& bytes) {
  auto elf = ElfFile::parse(view_of(bytes));
  return elf ? "" : elf.error().what;
}

TEST(ElfFile, MapsAddressesToFileBytes) {
  const auto bytes = SyntheticBinary::ordinary().build();
  auto elf = ElfFile::parse(view_of(bytes));
  ASSERT_TRUE(elf) << elf.error().what;
  EXPECT_EQ(elf->machine(), ElfFile::kMachineAmd64);
  EXPECT_FALSE(elf->position_independent());
  EXPECT_EQ(elf->load_base(), SyntheticBinary::kBase);
  EXPECT_EQ(elf->loads().size(), 2u);

  auto start = elf->bytes(SyntheticBinary::kBase, 4);
  ASSERT_TRUE(start);
  EXPECT_EQ(start->read<uint32_t>(0), 0x464c457fu);
  EXPECT_EQ(elf->file_offset(SyntheticBinary::kData + 5), 0x10005u);
  // Beyond a segment's file bytes: .bss, gaps, nothing.
  EXPECT_FALSE(elf->bytes(SyntheticBinary::kData + 0x3fff, 2));
  EXPECT_FALSE(elf->bytes(SyntheticBinary::kData + 0x4000, 1));
  EXPECT_FALSE(elf->bytes_from(SyntheticBinary::kBase - 1));
  EXPECT_FALSE(elf->bytes(~uint64_t{0}, 1));
  EXPECT_FALSE(elf->bytes(SyntheticBinary::kBase, ~uint64_t{0}));
}

TEST(ElfFile, FindsSectionsAndNotes) {
  auto binary = SyntheticBinary::ordinary();
  for (bool section_headers : {true, false}) {
    binary.section_headers = section_headers;
    const auto bytes = binary.build();
    auto elf = ElfFile::parse(view_of(bytes));
    ASSERT_TRUE(elf);
    EXPECT_EQ(elf->has_section_headers(), section_headers);
    EXPECT_EQ(elf->section(".gopclntab") != nullptr, section_headers);
    EXPECT_EQ(elf->section(".missing"), nullptr);
    EXPECT_FALSE(elf->has_symbol_table());
    auto go = elf->note("Go", 4);
    ASSERT_TRUE(go);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(go->data()), go->size()),
              std::string("the/id\0\0", 8));
    auto gnu = elf->note("GNU", NT_GNU_BUILD_ID);
    ASSERT_TRUE(gnu);
    EXPECT_EQ(gnu->read<uint32_t>(0), 0xefbeaddeu);
    EXPECT_FALSE(elf->note("GNU", 99));
  }
}

TEST(ElfFile, AppliesRelativeRelocations) {
  auto binary = SyntheticBinary::ordinary();
  binary.string_variables = {"text"};
  for (bool position_independent : {false, true}) {
    binary.position_independent = position_independent;
    const auto bytes = binary.build();
    auto elf = ElfFile::parse(view_of(bytes));
    ASSERT_TRUE(elf);
    EXPECT_EQ(elf->position_independent(), position_independent);
    auto words = elf->relocated(SyntheticBinary::variable(0), 16);
    ASSERT_TRUE(words);
    const ByteView view(words->data(), words->size());
    auto text = elf->bytes(*view.read<uint64_t>(0), 4);
    ASSERT_TRUE(text);
    EXPECT_EQ(std::memcmp(text->data(), "text", 4), 0);
    // A relocation that would stick out of the wanted bytes is left alone.
    EXPECT_TRUE(elf->relocated(SyntheticBinary::variable(0), 4));
    EXPECT_FALSE(elf->relocated(SyntheticBinary::variable(0), uint64_t{1} << 40));
    EXPECT_FALSE(elf->relocated(0, 8));
  }
}

TEST(ElfFile, RefusesOtherFiles) {
  const auto good = SyntheticBinary::ordinary().build();
  EXPECT_EQ(refusal({}), "not an ELF file");
  EXPECT_EQ(refusal(std::vector<std::byte>(64)), "not an ELF file");
  auto bytes = good;
  bytes[EI_CLASS] = std::byte{ELFCLASS32};
  EXPECT_EQ(refusal(bytes), "32-bit programs are not supported");
  bytes = good;
  bytes[EI_DATA] = std::byte{ELFDATA2MSB};
  EXPECT_EQ(refusal(bytes), "big-endian programs are not supported");
  bytes = good;
  patch(bytes, offsetof(Elf64_Ehdr, e_type), uint16_t{ET_REL});
  EXPECT_EQ(refusal(bytes), "not an executable file");
  bytes = good;
  patch(bytes, offsetof(Elf64_Ehdr, e_phnum), uint16_t{0});
  EXPECT_NE(refusal(bytes), "");
  bytes = good;
  patch(bytes, offsetof(Elf64_Ehdr, e_phoff), ~uint64_t{0} - 8);
  EXPECT_NE(refusal(bytes), "");
  bytes = good;
  patch(bytes, offsetof(Elf64_Ehdr, e_phnum), uint16_t{0xffff});
  EXPECT_NE(refusal(bytes), "");
}

TEST(ElfFile, LivesWithoutUsableSectionHeaders) {
  const auto good = SyntheticBinary::ordinary().build();
  struct {
    size_t at;
    uint64_t value;
    size_t size;
  } const lies[] = {
      {offsetof(Elf64_Ehdr, e_shoff), ~uint64_t{0}, 8},
      {offsetof(Elf64_Ehdr, e_shnum), 0xffff, 2},
      {offsetof(Elf64_Ehdr, e_shentsize), 1, 2},
      {offsetof(Elf64_Ehdr, e_shoff), good.size() - 1, 8},
  };
  for (const auto& lie : lies) {
    auto bytes = good;
    std::memcpy(bytes.data() + lie.at, &lie.value, lie.size);
    auto elf = ElfFile::parse(view_of(bytes));
    ASSERT_TRUE(elf);
    EXPECT_EQ(elf->section(".gopclntab"), nullptr);
  }
  // Names beyond the name section leave sections without names, not without addresses.
  auto bytes = good;
  patch(bytes, offsetof(Elf64_Ehdr, e_shstrndx), uint16_t{77});
  auto elf = ElfFile::parse(view_of(bytes));
  ASSERT_TRUE(elf);
  EXPECT_TRUE(elf->has_section_headers());
  EXPECT_EQ(elf->section(".gopclntab"), nullptr);
}

TEST(ElfFile, EveryTruncationIsAnErrorOrAWorkingFile) {
  const auto good = SyntheticBinary::ordinary().build();
  for (size_t size = 0; size < good.size(); size += size < 0x1000 ? 1 : 97) {
    const std::vector<std::byte> bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(size));
    auto elf = ElfFile::parse(view_of(bytes));
    if (!elf) continue;
    EXPECT_GE(size, sizeof(Elf64_Ehdr));
    (void)elf->note("Go", 4);
    (void)elf->relocated(SyntheticBinary::kData, 256);
    for (const auto& load : elf->loads()) EXPECT_LE(elf->segment_bytes(load).size(), size);
  }
}

}  // namespace
}  // namespace goheapd::gobin

// Small executables that look like Go's to goheapd, made of whatever a test wants to be true, or broken.
//
//   0x400000  R X   ELF headers, notes | code, 0x40 bytes a function | function table, inline trees, strings
//   0x500000  RW    module data, build info, variables, relocations
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "daemon/base/byte_view.h"

namespace goheapd::test {

class SyntheticBinary {
 public:
  static constexpr uint64_t kBase = 0x400000;
  static constexpr uint64_t kText = 0x401000;
  static constexpr uint64_t kData = 0x500000;
  static constexpr uint64_t kFunctionBytes = 0x40;

  // value until (excluding) this many bytes after the function's entry
  using PcTable = std::vector<std::pair<int32_t, uint32_t>>;
  struct InlinedCall {
    std::string function;
    int32_t parent_pc = 0;  // relative to the machine function's entry
    int32_t start_line = 0;
    uint8_t func_id = 0;
  };
  struct Function {
    std::string name;
    std::vector<uint8_t> code = {};  // padded with int3
    PcTable lines = {{1, kFunctionBytes}};
    PcTable inlined = {};  // index into `calls`
    std::vector<InlinedCall> calls = {};
    uint8_t func_id = 0;
    int32_t start_line = 1;
  };

  // What to build. Functions are placed in order from kText on.
  std::vector<Function> functions;
  std::string version = "go1.24.4";  // in the build info; empty: no build info
  std::string module_info = "path\texample.com/cmd\nmod\texample.com\tv1.2.3\t\nbuild\t-ldflags=\"-s -w\"\n";
  std::string file_name = "/src/main.go";
  uint16_t machine = 62;
  bool position_independent = false;  // pointers only as relocations
  bool section_headers = true;
  bool module_data = true;
  // Variables {pointer, length} at the end of the data segment, see variable().
  std::vector<std::string> string_variables;
  uint32_t functab_magic = 0xfffffff1;

  // A main program with a runtime around it, as most tests need it: entry(1) is main.main.
  static SyntheticBinary ordinary();

  static uint64_t entry(size_t function) { return kText + function * kFunctionBytes; }
  // Vaddr of string variable i.
  static uint64_t variable(size_t i) { return kData + 0x1800 + 16 * i; }

  std::vector<std::byte> build() const;
};

inline ByteView view_of(const std::vector<std::byte>& bytes) { return {bytes.data(), bytes.size()}; }

}  // namespace goheapd::test

// libFuzzer's entry points; it brings its own main().
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>

#include "tests/fuzz/fuzzer.h"

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  spdlog::set_level(spdlog::level::off);
  if (*argc != 3 || std::strcmp((*argv)[1], "--write-seeds") != 0) return 0;
  int number = 0;
  for (const std::string& seed : goheapd::fuzz::seeds()) {
    std::ofstream file(std::string((*argv)[2]) + "/seed-" + std::to_string(number++), std::ios::binary);
    if (!(file << seed)) {
      std::cerr << "cannot write seeds to " << (*argv)[2] << "\n";
      std::exit(1);
    }
  }
  std::exit(0);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // An exact copy on the heap: reading one byte beyond it is found.
  const std::string input(reinterpret_cast<const char*>(data), size);
  goheapd::fuzz::run(input);
  return 0;
}

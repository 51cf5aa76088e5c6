// What every fuzzer of this folder is made of. libFuzzer calls LLVMFuzzerTestOneInput with inputs that it breeds from
// seeds. Texts are files, corpus/FUZZER/*; what is no text is made by code: `FUZZER --write-seeds DIRECTORY`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace goheapd::fuzz {

// Implemented by each fuzzer: small inputs of each kind that its code takes apart, as far as they are no texts.
std::vector<std::string> seeds();

// The same for the one input that was bred. Must not leave anything behind that changes what the next one does.
void run(std::string_view input);

// Keeps the compiler from dropping what computed `value`.
template <typename T>
void use(const T& value) {
  asm volatile("" : : "r"(&value) : "memory");
}

// Every byte of a text is read, so that a view of memory that is gone is found.
inline void use_text(std::string_view text) {
  unsigned sum = 0;
  for (const char c : text) sum += static_cast<unsigned char>(c);
  use(sum);
}

}  // namespace goheapd::fuzz

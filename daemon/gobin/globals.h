// Addresses of the runtime's variables.
//
// A symbol table has them; stripped files do not. But functions keep their names in the pclntab, and the code of
// runtime.mProf_FlushLocked must load runtime.mbuckets from somewhere. So each variable has a few recipes of the
// form "the k-th program-counter relative operand of function F points into it, at field f":
//
//     runtime.mProf_Flush    ──▶ code ──▶ 0th operand ──┐
//     runtime.mProf_Free     ──▶ code ──▶ 0th operand ──┼──▶ votes ──▶ runtime.mProfCycle
//     runtime.mProf_PostSweep──▶ code ──▶ 0th operand ──┘
//     .symtab (if there)     ───────────────────────────────▶ must agree
//
// Inlining (profile-guided builds) can shift the operands of a function: such a vote is outnumbered, or lands outside of
// writable data and does not count. A variable on which the votes do not settle is an error, not a guess.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/gobin/elf_file.h"
#include "daemon/gobin/function_code.h"
#include "daemon/gobin/runtime_layout.h"

namespace goheapd::gobin {

using FunctionLookup = std::function<std::optional<FunctionCode>(std::string_view name)>;

struct GlobalVariable {
  std::string_view name;          // "runtime.mheap_"
  std::optional<uint64_t> vaddr;  // none: see `reason`
  unsigned votes = 0;             // recipes that say so
  unsigned dissenting_votes = 0;  // recipes that say something else
  bool in_symbol_table = false;
  std::string reason;  // why there is no address
};

class Globals {
 public:
  // All variables that this class knows recipes for, present or not. `functions` finds a function of the file by name.
  static Globals find(const ElfFile& elf, const RuntimeLayout& layout, const FunctionLookup& functions);

  // Link-time address by Go's name ("runtime.mheap_"). Errors: not a variable with recipes, not found, votes or
  // symbols that contradict each other.
  Expected<uint64_t> address(std::string_view name) const;
  std::span<const GlobalVariable> variables() const { return variables_; }

 private:
  std::vector<GlobalVariable> variables_;
};

}  // namespace goheapd::gobin

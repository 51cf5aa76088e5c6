// A running heap_ledger (or life_ledger) together with our view of its runtime.
#pragma once

#include <memory>
#include <string>

#include "daemon/gobin/go_binary.h"
#include "daemon/runtime/runtime_view.h"
#include "tests/unit/runtime/ledger_process.h"

namespace goheapd::test {

struct LedgerView {
  // Throws what failed as std::runtime_error.
  LedgerView(int minor, const LedgerVariant& variant, uint64_t rate, uint64_t records);
  // Another program that takes commands the same way, and two numbers.
  LedgerView(std::string program, uint64_t first, uint64_t second);

  std::string executable;
  LedgerProcess ledger;
  std::shared_ptr<const gobin::GoBinary> binary;
  std::unique_ptr<runtime::RuntimeView> view;
};

}  // namespace goheapd::test

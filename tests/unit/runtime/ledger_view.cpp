#include "tests/unit/runtime/ledger_view.h"

#include <stdexcept>
#include <utility>

namespace goheapd::test {

LedgerView::LedgerView(int minor, const LedgerVariant& variant, uint64_t rate, uint64_t records)
    : LedgerView(build_ledger(minor, variant), rate, records) {}

LedgerView::LedgerView(std::string program, uint64_t first, uint64_t second)
    : executable(std::move(program)), ledger(executable, first, second) {
  auto opened = gobin::GoBinary::open(executable);
  if (!opened) throw std::runtime_error(to_string(opened.error()));
  binary = *opened;
  const auto proc = process::ProcFs::open();
  auto opened_view = runtime::RuntimeView::open(*proc, *binary, ledger.pid());
  if (!opened_view) throw std::runtime_error(to_string(opened_view.error()));
  view = std::make_unique<runtime::RuntimeView>(*std::move(opened_view));
}

}  // namespace goheapd::test

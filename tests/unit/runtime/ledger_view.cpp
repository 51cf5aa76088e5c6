#include "tests/unit/runtime/ledger_view.h"

#include <stdexcept>

namespace goheapd::test {

LedgerView::LedgerView(int minor, const LedgerVariant& variant, uint64_t rate, uint64_t records)
    : executable(build_ledger(minor, variant)), ledger(executable, rate, records) {
  auto opened = gobin::GoBinary::open(executable);
  if (!opened) throw std::runtime_error(to_string(opened.error()));
  binary = *opened;
  const auto proc = process::ProcFs::open();
  auto opened_view = runtime::RuntimeView::open(*proc, *binary, ledger.pid());
  if (!opened_view) throw std::runtime_error(to_string(opened_view.error()));
  view = std::make_unique<runtime::RuntimeView>(*std::move(opened_view));
}

}  // namespace goheapd::test

#include <CLI/CLI.hpp>
#include <memory>

#include "daemon/cli/commands.h"
#include "daemon/cli/inspect.h"

namespace goheapd::cli {

void add_inspect(CLI::App& program, Action& action) {
  auto* command =
      program.add_subcommand("inspect", "say what goheapd knows of a Go program and what works with it");
  auto options = std::make_shared<InspectOptions>();
  auto* subject = command->add_option_group("subject", "what to look at");
  subject->add_option("FILE", options->file, "an executable file");
  subject->add_option("--pid", options->pid, "a running process; tells its sampling rate too")
      ->check(CLI::Range(1, 1 << 22));
  subject->require_option(1);
  command->add_flag("--json", options->json, "print JSON");
  command->add_flag(
      "-v,--verbose", options->verbose,
      "also the sites not taken and why, runtime variables, and the layout of structs with its sources");
  command->callback([&action, options] { action = [options] { return run_inspect(*options); }; });
}

}  // namespace goheapd::cli

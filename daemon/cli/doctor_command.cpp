#include <CLI/CLI.hpp>
#include <memory>

#include "daemon/cli/commands.h"
#include "daemon/cli/doctor.h"

namespace goheapd::cli {

void add_doctor(CLI::App& program, Action& action) {
  auto* command =
      program.add_subcommand("doctor", "check what this host can do and what a probe hit costs on it");
  auto options = std::make_shared<DoctorOptions>();
  command->add_flag("--json", options->json, "print JSON");
  command->callback([&action, options] { action = [options] { return run_doctor(*options); }; });
}

}  // namespace goheapd::cli

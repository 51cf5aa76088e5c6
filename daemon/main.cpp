#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <sstream>
#include <string>

#include "daemon/base/output_file.h"
#include "daemon/cli/commands.h"
#include "daemon/version.h"

namespace {

bool knows_command(const CLI::App& program, const std::string& name) {
  const auto commands =
      program.get_subcommands([&name](const CLI::App* command) { return command->get_name() == name; });
  return !commands.empty();
}

// A target takes several descriptors; services start with a soft limit of 1024 for the sake of programs that use select().
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);  // whoever misses them then says so
}

}  // namespace

int main(int argc, char** argv) {
  using namespace goheapd;
  CLI::App program{
      "goheapd shows which code of running Go programs allocates and holds memory, from outside."};
  program.set_version_flag("--version", std::string("goheapd ") + kVersion);
  program.require_subcommand(1);
  cli::Action action;
  cli::add_serve(program, action, argc, argv);
  cli::add_record(program, action);
  cli::add_inspect(program, action);
  cli::add_doctor(program, action);
  if (argc > 1 && argv[1][0] != '-' && !knows_command(program, argv[1])) {
    std::fprintf(stderr, "goheapd: unknown command '%s'\nRun with --help to see the commands.\n", argv[1]);
    return cli::kExitUsage;
  }
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& done) {  // --help, --version
    std::ostringstream text;
    program.exit(done, text, text);
    if (auto printed = print(text.str()); !printed) {
      std::fprintf(stderr, "goheapd: %s\n", to_string(printed.error()).c_str());
      return cli::kExitFailed;
    }
    return cli::kExitDone;
  } catch (const CLI::Error& error) {
    std::fprintf(stderr, "goheapd: %s\nRun with --help to see the flags.\n", error.what());
    return cli::kExitUsage;
  }
  raise_descriptor_limit();
  try {
    return action();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "goheapd: %s\n", error.what());
    return cli::kExitFailed;
  }
}

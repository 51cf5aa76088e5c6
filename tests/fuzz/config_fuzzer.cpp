// YAML configuration and web configuration. The first byte says which.
#include <sys/mman.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include "daemon/base/unique_fd.h"
#include "daemon/cli/serve_options.h"
#include "daemon/k8s/label_selector.h"
#include "exporters/http/web_config.h"
#include "tests/fuzz/fuzzer.h"

namespace goheapd::fuzz {

std::vector<std::string> seeds() { return {}; }  // texts: tests/fuzz/corpus

void run(std::string_view input) {
  if (input.empty()) return;
  const std::string text(input.substr(1));
  switch (input[0]) {
    case 'w':
      use(exporters::http::parse_web_config(text, "/nonexistent"));
      break;
    case 's':
      if (const auto selector = k8s::LabelSelector::parse(text))
        use(selector->matches({{"app", "a"}, {"there", ""}}));
      break;
    default: {
      const UniqueFd file(::memfd_create("config", MFD_CLOEXEC));
      if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return;
      CLI::App app;
      cli::ServeOptions options;
      cli::bind_serve_flags(app, options);
      try {
        use(cli::apply_config_file(app, "/proc/self/fd/" + std::to_string(file.get())));
      } catch (const CLI::Error&) {  // what a flag refuses; parse_serve_options() takes it
      }
    }
  }
}

}  // namespace goheapd::fuzz

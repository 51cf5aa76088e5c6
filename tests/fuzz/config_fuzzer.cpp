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

std::vector<std::string> seeds() {
  return {
      "cweb.listen-address: [\"127.0.0.1:9786\"]\ninclude: [\"^/usr/\"]\nexclude: []\ntop-sites: 20\n"
      "exited-retention: 10m\noverhead-budget: 1\n",
      "cmode: exact\npid: [1, 2]\nlog.level: debug\nlog.format: json\n",
      "wtls_server_config:\n  cert_file: a.crt\n  key_file: a.key\n  client_auth_type: "
      "RequireAndVerifyClientCert\n"
      "  client_ca_file: ca.crt\n  client_allowed_sans: [x]\n  min_version: TLS12\n  cipher_suites:\n"
      "    - TLS_AES_128_GCM_SHA256\n  curve_preferences: [CurveP256]\nhttp_server_config:\n  http2: false\n "
      " headers:\n"
      "    X-Frame-Options: deny\nbasic_auth_users:\n  alice: $2y$10$abcdefghijklmnopqrstuv\n",
      "sapp in (a,b),tier!=x,!gone,there",
  };
}

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

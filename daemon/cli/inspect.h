// goheapd inspect: what goheapd knows of a Go program, and what will and will not work with it.
//
//   file or process ──▶ inspect() ──▶ Inspection ──▶ to_text() / to_json()
//                      (reads it)    (plain values)  (pure)
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/gobin/go_binary.h"

namespace goheapd::cli {

struct InspectOptions {
  std::string file;          // either this
  std::optional<pid_t> pid;  // or a running process
  bool json = false;
  bool verbose = false;
};

// One of the modes that interface.md names.
struct Ability {
  std::string mode;
  bool works = false;
  std::string why;
};

// What only a running process tells.
struct LiveFindings {
  pid_t pid = 0;
  uint64_t load_bias = 0;               // address in the process - link-time address
  std::optional<uint64_t> sample_rate;  // runtime.MemProfileRate in bytes
  std::optional<Error> error;           // why its memory cannot be read or believed
};

struct Inspection {
  std::string path;
  gobin::BinaryInfo info;
  std::string measured_release;  // whose source the links of `layout` name
  bool links_memory_profile = false;
  std::vector<gobin::FieldDescription> layout;
  std::vector<gobin::GlobalVariable> variables;
  Expected<std::vector<gobin::ProbePoint>> sampled;
  Expected<std::vector<gobin::ProbePoint>> spans;
  Expected<std::vector<gobin::ProbePoint>> exact;
  std::optional<LiveFindings> live;
  std::vector<Ability> abilities;
};

// Errors: not a program that goheapd can work with (the message says why), no such file or process.
Expected<Inspection> inspect(const InspectOptions& options);

// What works, from the other members.
std::vector<Ability> judge(const Inspection& inspection);

// Verdicts and chosen sites; with `verbose` also what was weighed against them, variables and struct layout.
std::string to_text(const Inspection& inspection, bool verbose);
// Of one shape, whatever works and what not.
std::string to_json(const Inspection& inspection);
// For a program that goheapd refuses.
std::string refusal_to_json(const std::string& path, const Error& error);

// Prints to standard output. 0 when the program was recognised, else 1 with a line on standard error.
int run_inspect(const InspectOptions& options);

}  // namespace goheapd::cli

// What the tests of this folder share: a collector that keeps what it was given, and attach requests for Go programs.
#pragma once

#include <chrono>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "daemon/model/event.h"
#include "daemon/probe/collector.h"
#include "tests/bpf/go_program.h"

namespace goheapd::testing {

struct Received {
  std::vector<model::Event> events;
  std::map<uint64_t, model::ExactStack> stacks;  // by hash
  size_t stack_events = 0;
  template <typename T>
  std::vector<T> all() const {
    std::vector<T> found;
    for (const model::Event& event : events)
      if (const T* match = std::get_if<T>(&event)) found.push_back(*match);
    return found;
  }
};

// Throws where a collector cannot be made: these tests run as root on a kernel that has what is needed.
probe::Collector make_collector(Received& received, const probe::CollectorOptions& options = {});

enum class Watch { exact, sampled, spans };
probe::AttachRequest request_for(const GoProgram& program, Watch watch);

// The first place in the program's code with these bytes.
gobin::SiteCandidate find_bytes(const GoProgram& program, std::initializer_list<unsigned char> bytes);

// Takes in everything that is in the ring.
void drain(probe::Collector& collector);

struct ExactTotals {
  uint64_t objects = 0;
  uint64_t slot_bytes = 0;
  uint64_t without_stack = 0;  // objects
};
ExactTotals totals(const std::vector<model::ExactCount>& counts);

uint64_t lost(const probe::TargetCounters& counters, std::string_view reason);
// What was lost, by reason; empty if nothing was. A probe cannot wait for a page that the kernel is just moving (memory is
// compacted, small pages become a huge one): up to two stacks unreadable are not told.
std::string describe_losses(const probe::TargetCounters& counters);

}  // namespace goheapd::testing

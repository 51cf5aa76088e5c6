// The loaded BPF object: its programs and maps, and nothing that is attached except the process events.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bpf/wire.h"
#include "daemon/base/expected.h"
#include "daemon/probe/map_sizes.h"
#include "daemon/probe/uprobe_methods.h"

struct bpf_link;
struct heap_bpf;

namespace goheapd::probe {

class BpfObject {
 public:
  // Loads for sites that will be attached by `method`, with smaller maps where `wanted` is too much for so many CPUs. Error:
  // errno and, where known, what libbpf said.
  static Expected<BpfObject> load(const BpfSizes& wanted, AttachMethod method,
                                  std::span<const uint32_t, wire::kSizeClassCount> size_class_bytes);
  BpfObject(BpfObject&&) noexcept;
  BpfObject& operator=(BpfObject&&) noexcept;
  ~BpfObject();

  // Starts the exec and exit events.
  Expected<bool> watch_processes();

  int sampled_program() const;
  int exact_program() const;
  int spans_program() const;
  int self_test_program() const;
  int targets() const;
  // One entry of the map `targets`, as the words of a wire::WireTarget that programs at work see at once.
  std::span<uint64_t, sizeof(wire::WireTarget) / sizeof(uint64_t)> target_words(uint32_t index) const;
  int target_of_process() const;
  int sites() const;
  int statistics() const;
  int events() const;
  int exact_counts() const;
  int shipped_stacks() const;
  int span_caches() const;
  int open_runs() const;
  uint32_t target_capacity() const { return target_capacity_; }
  // How many values an entry of a map has of which each CPU has its own.
  size_t possible_cpus() const { return possible_cpus_; }
  AttachMethod method() const { return method_; }  // for which it was loaded

  // How often self_test_program ran at sites whose cookie was `cookie` (0 to 3; without cookies all count as 0).
  uint64_t self_test_hits(unsigned cookie) const;

 private:
  BpfObject() = default;
  struct Unload {
    void operator()(heap_bpf* skeleton) const;
  };
  struct Detach {
    void operator()(bpf_link* link) const;
  };
  std::unique_ptr<heap_bpf, Unload> skeleton_;
  struct Unmap {
    Unmap() : bytes(0) {}
    explicit Unmap(size_t size) : bytes(size) {}
    size_t bytes;
    void operator()(uint64_t* words) const;
  };
  std::unique_ptr<uint64_t, Unmap> target_words_;         // of all targets
  std::vector<std::unique_ptr<bpf_link, Detach>> links_;  // after skeleton_: links go before their programs
  uint32_t target_capacity_ = 0;
  size_t possible_cpus_ = 1;
  AttachMethod method_ = AttachMethod::uprobe_multi;
};

}  // namespace goheapd::probe

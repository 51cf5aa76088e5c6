#include "daemon/probe/bpf_object.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <heap.skel.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <mutex>

#include "daemon/probe/size_classes.h"

namespace goheapd::probe {
namespace {

// Kernels before 6.1 allocate hash maps up front.
constexpr uint32_t kPreallocatedEntries = 16u << 10;

// libbpf's last complaint on this thread, for our error message: its functions return only an errno.
thread_local std::string last_complaint;

// NOLINTNEXTLINE(cert-dcl50-cpp): libbpf's signature
int log_libbpf(libbpf_print_level level, const char* format, va_list arguments) {
  // The verifier's log is one message of up to megabytes, and what matters in it comes last.
  va_list again;
  va_copy(again, arguments);
  const int length = std::vsnprintf(nullptr, 0, format, again);
  va_end(again);
  std::string text(static_cast<size_t>(std::max(length, 0)) + 1, '\0');
  std::vsnprintf(text.data(), text.size(), format, arguments);
  text.pop_back();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  // Even libbpf's warnings are our debug messages: what matters to a user is in the Error that follows. What it says
  // about each relocation matters to nobody who has not set a breakpoint.
  if (level != LIBBPF_DEBUG) spdlog::debug("{}", text);
  if (level == LIBBPF_WARN) last_complaint = std::move(text);
  return 0;
}

struct MapSize {
  bpf_map* map;
  uint32_t entries;
};

}  // namespace

void BpfObject::Unload::operator()(heap_bpf* skeleton) const { heap_bpf__destroy(skeleton); }
void BpfObject::Unmap::operator()(uint64_t* words) const { ::munmap(words, bytes); }
void BpfObject::Detach::operator()(bpf_link* link) const { bpf_link__destroy(link); }

BpfObject::BpfObject(BpfObject&&) noexcept = default;
BpfObject& BpfObject::operator=(BpfObject&&) noexcept = default;
BpfObject::~BpfObject() = default;

Expected<BpfObject> BpfObject::load(const BpfSizes& wanted, AttachMethod method,
                                    std::span<const uint32_t, wire::kSizeClassCount> size_class_bytes) {
  static std::once_flag once;
  std::call_once(once, [] { libbpf_set_print(log_libbpf); });
  last_complaint.clear();
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return fail("cannot find the number of CPUs", {}, -cpus);
  const BpfSizes sizes = fit_to_cpus(wanted, static_cast<unsigned>(cpus));

  BpfObject object;
  object.method_ = method;
  object.possible_cpus_ = static_cast<size_t>(cpus);
  object.skeleton_.reset(heap_bpf__open());
  heap_bpf* const skeleton = object.skeleton_.get();
  if (skeleton == nullptr) return fail("cannot open the BPF object", last_complaint, errno);

  skeleton->rodata->wake_bytes = std::min<uint64_t>(sizes.wake_bytes, sizes.ring_bytes / 4);
  skeleton->rodata->sites_have_cookies = method == AttachMethod::uprobe_multi ? 1 : 0;
  const SizeClassTables tables = make_size_class_tables(size_class_bytes);
  std::copy(tables.small.begin(), tables.small.end(), skeleton->rodata->size_to_class_small);
  std::copy(tables.medium.begin(), tables.medium.end(), skeleton->rodata->size_to_class_medium);
  std::copy(size_class_bytes.begin(), size_class_bytes.end(), skeleton->rodata->size_class_bytes);

  // Kernels that have uprobe_multi (6.6) also have BPF's own allocator (6.1), which can be called from any
  // program.
  const bool grow = method == AttachMethod::uprobe_multi;
  object.target_capacity_ = sizes.targets + 1;  // entry 0 of the arrays stands for "no target"
  const auto entries = [grow](uint32_t most) { return grow ? most : std::min(most, kPreallocatedEntries); };
  for (const MapSize& size : {MapSize{skeleton->maps.targets, object.target_capacity_},
                              MapSize{skeleton->maps.statistics, object.target_capacity_},
                              MapSize{skeleton->maps.world_stops, object.target_capacity_},
                              MapSize{skeleton->maps.gc_starts, object.target_capacity_},
                              MapSize{skeleton->maps.target_of_process, sizes.targets},
                              MapSize{skeleton->maps.sites, grow ? 1 : sizes.targets * 24},
                              MapSize{skeleton->maps.events, sizes.ring_bytes},
                              MapSize{skeleton->maps.exact_counts, entries(sizes.exact_entries)},
                              MapSize{skeleton->maps.shipped_stacks, entries(sizes.stacks)},
                              MapSize{skeleton->maps.span_caches, entries(sizes.span_caches)},
                              MapSize{skeleton->maps.open_runs, entries(sizes.open_runs)}}) {
    if (bpf_map__set_max_entries(size.map, size.entries) != 0)
      return fail("cannot size a BPF map", bpf_map__name(size.map), errno);
  }
  if (grow) {
    for (bpf_map* const map : {skeleton->maps.exact_counts, skeleton->maps.shipped_stacks,
                               skeleton->maps.span_caches, skeleton->maps.open_runs})
      bpf_map__set_map_flags(map, BPF_F_NO_PREALLOC);
    for (bpf_program* const program : {skeleton->progs.sampled_hit, skeleton->progs.exact_hit,
                                       skeleton->progs.spans_hit, skeleton->progs.self_test_hit})
      bpf_program__set_expected_attach_type(program, static_cast<bpf_attach_type>(kUprobeMultiAttachType));
  }
  const int error = heap_bpf__load(skeleton);
  if (error != 0) return fail("cannot load the BPF object", last_complaint, -error);
  static_assert(sizeof(wire::WireTarget) % sizeof(uint64_t) == 0);
  const size_t bytes = sizeof(wire::WireTarget) * object.target_capacity_;
  void* const words = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, object.targets(), 0);
  if (words == MAP_FAILED) return fail("cannot map a BPF map", "targets", errno);
  object.target_words_ = {static_cast<uint64_t*>(words), Unmap{bytes}};
  return object;
}

Expected<bool> BpfObject::watch_processes() {
  for (const bpf_program* const program : {skeleton_->progs.process_exec, skeleton_->progs.process_exit}) {
    bpf_link* const link = bpf_program__attach(program);
    if (link == nullptr) return fail("cannot watch processes", bpf_program__name(program), errno);
    links_.emplace_back(link);
  }
  return true;
}

int BpfObject::sampled_program() const { return bpf_program__fd(skeleton_->progs.sampled_hit); }
int BpfObject::exact_program() const { return bpf_program__fd(skeleton_->progs.exact_hit); }
int BpfObject::spans_program() const { return bpf_program__fd(skeleton_->progs.spans_hit); }
int BpfObject::self_test_program() const { return bpf_program__fd(skeleton_->progs.self_test_hit); }
int BpfObject::targets() const { return bpf_map__fd(skeleton_->maps.targets); }
std::span<uint64_t, sizeof(wire::WireTarget) / sizeof(uint64_t)> BpfObject::target_words(
    uint32_t index) const {
  constexpr size_t kWords = sizeof(wire::WireTarget) / sizeof(uint64_t);
  return std::span<uint64_t, kWords>(target_words_.get() + kWords * index, kWords);
}
int BpfObject::target_of_process() const { return bpf_map__fd(skeleton_->maps.target_of_process); }
int BpfObject::sites() const { return bpf_map__fd(skeleton_->maps.sites); }
int BpfObject::statistics() const { return bpf_map__fd(skeleton_->maps.statistics); }
int BpfObject::events() const { return bpf_map__fd(skeleton_->maps.events); }
int BpfObject::exact_counts() const { return bpf_map__fd(skeleton_->maps.exact_counts); }
int BpfObject::shipped_stacks() const { return bpf_map__fd(skeleton_->maps.shipped_stacks); }
int BpfObject::span_caches() const { return bpf_map__fd(skeleton_->maps.span_caches); }
int BpfObject::open_runs() const { return bpf_map__fd(skeleton_->maps.open_runs); }

uint64_t BpfObject::self_test_hits(unsigned cookie) const {
  return *static_cast<volatile __u64*>(&skeleton_->bss->self_test_hits[cookie & 3]);
}

}  // namespace goheapd::probe

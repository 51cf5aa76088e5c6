// An immutable, self-contained heap profile: what exporters encode. Nothing in it refers to a process or a
// file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/model/process_key.h"

namespace goheapd::model {

struct HeapValues {
  int64_t alloc_objects = 0;
  int64_t alloc_bytes = 0;
  int64_t inuse_objects = 0;
  int64_t inuse_bytes = 0;
  bool operator==(const HeapValues&) const = default;
};

struct Function {
  std::string name;  // full name, as pprof's protobuf output has it ("main.F[go.shape.int]")
  std::string file;
  int64_t start_line = 0;
};

struct Line {
  uint32_t function = 0;  // index into HeapSnapshot::functions
  int64_t line = 0;
};

struct Location {
  uint64_t address = 0;     // call pc (return address - 1) as mapped in the process; 0 = none (e.g. "other")
  uint32_t mapping = 0;     // 1-based index into mappings, 0 = none
  std::vector<Line> lines;  // innermost inlined frame first, the physical function last
  uint64_t entry = 0;       // start of the physical function as mapped, 0 = unknown; for "name+0xoffset"
};

struct Mapping {
  uint64_t start = 0;
  uint64_t limit = 0;
  uint64_t file_offset = 0;
  std::string file;
  std::string build_id;  // GNU build id in hex if there is one, else Go's build id
};

struct Sample {
  std::vector<uint32_t> locations;  // indices into HeapSnapshot::locations, leaf first
  HeapValues recorded;              // as counted: sampled objects and their slot bytes (exact mode: all)
  HeapValues scaled;                // unsampled estimate; equals `recorded` where nothing was sampled
  int64_t object_bytes = 0;         // pprof's numeric label "bytes"; 0 = sizes vary
  std::vector<std::pair<std::string, std::string>> labels;  // string labels, sorted by key
  // Return address into runtime.goexit where the recorded stack reaches it, else 0. It is no location: Go's profiles have it
  // in their text form only.
  uint64_t stack_end = 0;
};

struct HeapSnapshot {
  ProcessKey process;
  std::string comm;
  // What the alloc values count from (process start, or attach in exact mode), as long before the end as it was, whatever
  // has been done to the clock since.
  int64_t start_wall_ns = 0;
  int64_t end_wall_ns = 0;   // when this was true
  bool is_delta = false;     // end - begin of two snapshots
  uint64_t sample_rate = 0;  // PeriodType space/bytes, Period; 1 = every allocation
  bool is_scaled = false;    // samples' recorded values are estimates already, the rate is only told
  bool has_inuse = true;     // false: inuse is unknown in this mode and all zero
  uint32_t gc_cycle = 0;     // the completed GC cycle that inuse stands for, 0 = unknown
  std::string mode;
  std::string source;
  std::vector<std::string> comments;
  std::vector<Function> functions;
  std::vector<Location> locations;
  std::vector<Mapping> mappings;  // the main binary first
  std::vector<Sample> samples;
};

using HeapSnapshotPtr = std::shared_ptr<const HeapSnapshot>;

}  // namespace goheapd::model

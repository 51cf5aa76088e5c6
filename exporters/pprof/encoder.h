// A heap snapshot as a file that `go tool pprof` opens.
#pragma once

#include <string>
#include <vector>

#include "daemon/model/snapshot.h"

namespace goheapd::exporters::pprof {

// Same samples, different default: heap opens with inuse_space, allocs with alloc_space.
enum class Profile { heap, allocs };

// The bytes of a perftools.profiles.Profile message
// (https://github.com/google/pprof/blob/main/proto/profile.proto), with names and order of Go's own heap profile:
// alloc_objects/count, alloc_space/bytes, inuse_objects/count, inuse_space/bytes. Values are `Sample::scaled`.
// Deterministic: the same snapshot gives the same bytes. Indices that point nowhere are left out.
std::string encode(const model::HeapSnapshot& snapshot, Profile profile);

// What a reader has to know about a profile: mode and source, what is not known, and the snapshot's own comments.
std::vector<std::string> comments_of(const model::HeapSnapshot& snapshot);

// What is served and written to files: encode() in gzip, without a time stamp, so as deterministic as that.
std::string encode_gzip(const model::HeapSnapshot& snapshot, Profile profile);

}  // namespace goheapd::exporters::pprof

#include "exporters/pprof/encoder.h"

#include <protozero/pbf_writer.hpp>

#include <algorithm>
#include <array>
#include <deque>
#include <limits>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "daemon/base/gzip.h"
#include "daemon/base/utf8.h"

namespace goheapd::exporters::pprof {
namespace {

// Field numbers of profile.proto.
enum ProfileTag : protozero::pbf_tag_type {
  kSampleType = 1,
  kSample = 2,
  kMapping = 3,
  kLocation = 4,
  kFunction = 5,
  kStringTable = 6,
  kTimeNanos = 9,
  kDurationNanos = 10,
  kPeriodType = 11,
  kPeriod = 12,
  kComment = 13,
  kDefaultSampleType = 14,
};
enum ValueTypeTag : protozero::pbf_tag_type { kType = 1, kUnit = 2 };
enum SampleTag : protozero::pbf_tag_type { kSampleLocation = 1, kSampleValue = 2, kSampleLabel = 3 };
enum LabelTag : protozero::pbf_tag_type { kLabelKey = 1, kLabelString = 2, kLabelNumber = 3 };
enum MappingTag : protozero::pbf_tag_type {
  kMappingId = 1,
  kMemoryStart = 2,
  kMemoryLimit = 3,
  kFileOffset = 4,
  kMappingFile = 5,
  kBuildId = 6,
  kHasFunctions = 7,
  kHasFilenames = 8,
  kHasLineNumbers = 9,
  kHasInlineFrames = 10,
};
enum LocationTag : protozero::pbf_tag_type {
  kLocationId = 1,
  kLocationMapping = 2,
  kLocationAddress = 3,
  kLocationLine = 4,
};
enum LineTag : protozero::pbf_tag_type { kLineFunction = 1, kLineNumber = 2 };
enum FunctionTag : protozero::pbf_tag_type {
  kFunctionId = 1,
  kFunctionName = 2,
  kSystemName = 3,
  kFunctionFile = 4,
  kStartLine = 5,
};

// What is known of all locations of one mapping; pprof looks for the binary itself where something is missing.
struct Symbolised {
  bool used = false;
  bool functions = true;
  bool files = true;
  bool lines = true;
};

class Encoder {
 public:
  explicit Encoder(const model::HeapSnapshot& snapshot) : snapshot_(snapshot) {
    // Measured: about 60 bytes for a location with its function, 40 for a sample.
    out_.reserve(snapshot.locations.size() * 64 + snapshot.samples.size() * 64 + 1024);
  }

  std::string run(Profile profile) {
    add_value_type(kSampleType, "alloc_objects", "count");
    add_value_type(kSampleType, "alloc_space", "bytes");
    add_value_type(kSampleType, "inuse_objects", "count");
    add_value_type(kSampleType, "inuse_space", "bytes");
    for (const model::Sample& sample : snapshot_.samples) add_sample(sample);
    add_mappings();
    for (size_t i = 0; i < snapshot_.locations.size(); ++i) add_location(i);
    for (size_t i = 0; i < snapshot_.functions.size(); ++i) add_function(i);
    writer_.add_int64(kTimeNanos, snapshot_.end_wall_ns);
    writer_.add_int64(kDurationNanos, std::max<int64_t>(0, snapshot_.end_wall_ns - snapshot_.start_wall_ns));
    add_value_type(kPeriodType, "space", "bytes");
    writer_.add_int64(kPeriod, static_cast<int64_t>(snapshot_.sample_rate));
    add_comments();
    // Where inuse is unknown an empty page would be what opens first.
    const bool inuse_first = profile == Profile::heap && snapshot_.has_inuse;
    writer_.add_int64(kDefaultSampleType, intern(inuse_first ? "inuse_space" : "alloc_space"));
    for (const std::string_view text : strings_) writer_.add_string(kStringTable, text.data(), text.size());
    return std::move(out_);
  }

 private:
  // The views stay valid: they are of literals, of the snapshot and of this object.
  int64_t intern(std::string_view text) {
    const auto [entry, is_new] = string_ids_.try_emplace(text, static_cast<int64_t>(strings_.size()));
    if (is_new) {
      // Names come from hostile files, and most protobuf readers refuse a message over one bad byte.
      std::string clean = clean_utf8(text, std::numeric_limits<size_t>::max());
      strings_.push_back(clean == text ? text : std::string_view(cleaned_.emplace_back(std::move(clean))));
    }
    return entry->second;
  }

  void add_value_type(ProfileTag tag, std::string_view type, std::string_view unit) {
    protozero::pbf_writer message(writer_, tag);
    message.add_int64(kType, intern(type));
    message.add_int64(kUnit, intern(unit));
  }

  void add_sample(const model::Sample& sample) {
    protozero::pbf_writer message(writer_, kSample);
    location_ids_.clear();
    for (const uint32_t location : sample.locations) {
      if (location < snapshot_.locations.size()) location_ids_.push_back(location + 1);
    }
    message.add_packed_uint64(kSampleLocation, location_ids_.begin(), location_ids_.end());
    const model::HeapValues& v = sample.scaled;
    const std::array values = {v.alloc_objects, v.alloc_bytes, v.inuse_objects, v.inuse_bytes};
    message.add_packed_int64(kSampleValue, values.begin(), values.end());
    if (sample.object_bytes != 0) {
      protozero::pbf_writer label(message, kSampleLabel);
      label.add_int64(kLabelKey, intern("bytes"));
      label.add_int64(kLabelNumber, sample.object_bytes);
    }
    for (const auto& [key, value] : sample.labels) {
      protozero::pbf_writer label(message, kSampleLabel);
      label.add_int64(kLabelKey, intern(key));
      label.add_int64(kLabelString, intern(value));
    }
  }

  void add_mappings() {
    std::vector<Symbolised> symbolised(snapshot_.mappings.size());
    for (const model::Location& location : snapshot_.locations) {
      if (location.mapping == 0 || location.mapping > symbolised.size()) continue;
      Symbolised& known = symbolised[location.mapping - 1];
      known.used = true;
      if (location.lines.empty()) known.functions = known.files = known.lines = false;
      for (const model::Line& line : location.lines) {
        const bool valid = line.function < snapshot_.functions.size();
        known.functions = known.functions && valid && !snapshot_.functions[line.function].name.empty();
        known.files = known.files && valid && !snapshot_.functions[line.function].file.empty();
        known.lines = known.lines && line.line != 0;
      }
    }
    for (size_t i = 0; i < snapshot_.mappings.size(); ++i) {
      const model::Mapping& mapping = snapshot_.mappings[i];
      const Symbolised& known = symbolised[i];
      protozero::pbf_writer message(writer_, kMapping);
      message.add_uint64(kMappingId, i + 1);
      message.add_uint64(kMemoryStart, mapping.start);
      message.add_uint64(kMemoryLimit, mapping.limit);
      message.add_uint64(kFileOffset, mapping.file_offset);
      message.add_int64(kMappingFile, intern(mapping.file));
      message.add_int64(kBuildId, intern(mapping.build_id));
      message.add_bool(kHasFunctions, known.used && known.functions);
      message.add_bool(kHasFilenames, known.used && known.files);
      message.add_bool(kHasLineNumbers, known.used && known.lines);
      message.add_bool(kHasInlineFrames, known.used && known.functions);  // we always expand them
    }
  }

  void add_location(size_t index) {
    const model::Location& location = snapshot_.locations[index];
    protozero::pbf_writer message(writer_, kLocation);
    message.add_uint64(kLocationId, index + 1);
    if (location.mapping != 0 && location.mapping <= snapshot_.mappings.size()) {
      message.add_uint64(kLocationMapping, location.mapping);
    }
    message.add_uint64(kLocationAddress, location.address);
    for (const model::Line& line : location.lines) {
      if (line.function >= snapshot_.functions.size()) continue;
      protozero::pbf_writer line_message(message, kLocationLine);
      line_message.add_uint64(kLineFunction, line.function + uint64_t{1});
      line_message.add_int64(kLineNumber, line.line);
    }
  }

  void add_function(size_t index) {
    const model::Function& function = snapshot_.functions[index];
    protozero::pbf_writer message(writer_, kFunction);
    message.add_uint64(kFunctionId, index + 1);
    const int64_t name = intern(function.name);
    message.add_int64(kFunctionName, name);
    message.add_int64(kSystemName, name);
    message.add_int64(kFunctionFile, intern(function.file));
    if (function.start_line != 0) message.add_int64(kStartLine, function.start_line);
  }

  void add_comments() {
    comments_ = comments_of(snapshot_);
    for (const std::string& comment : comments_) writer_.add_int64(kComment, intern(comment));
  }

  const model::HeapSnapshot& snapshot_;
  std::string out_;
  protozero::pbf_writer writer_{out_};
  std::vector<std::string> comments_;   // kept: the string table refers to them
  std::vector<uint64_t> location_ids_;  // of one sample; kept for its memory
  std::vector<std::string_view> strings_ = {""};
  std::deque<std::string> cleaned_;  // a deque: views into it stay valid
  std::unordered_map<std::string_view, int64_t> string_ids_ = {{"", 0}};
};

}  // namespace

std::vector<std::string> comments_of(const model::HeapSnapshot& snapshot) {
  std::vector<std::string> comments;
  if (!snapshot.mode.empty()) {
    comments.push_back("goheapd: mode " + snapshot.mode +
                       (snapshot.source.empty() ? std::string() : ", source " + snapshot.source));
  }
  if (!snapshot.has_inuse) comments.emplace_back("goheapd: inuse is not known in this mode and shown as 0");
  comments.insert(comments.end(), snapshot.comments.begin(), snapshot.comments.end());
  return comments;
}

std::string encode(const model::HeapSnapshot& snapshot, Profile profile) {
  return Encoder(snapshot).run(profile);
}

std::string encode_gzip(const model::HeapSnapshot& snapshot, Profile profile) {
  return gzip(encode(snapshot, profile));
}

}  // namespace goheapd::exporters::pprof

#include "tests/unit/exporters/pprof/decode.h"

#include <zlib.h>

#include <array>
#include <map>
#include <protozero/pbf_reader.hpp>
#include <sstream>
#include <vector>

namespace goheapd::exporters::pprof {
namespace {

struct LineRow {
  uint64_t function = 0;
  int64_t line = 0;
};
struct LocationRow {
  uint64_t mapping = 0;
  uint64_t address = 0;
  std::vector<LineRow> lines;
};
struct FunctionRow {
  uint64_t name = 0;
  uint64_t system_name = 0;
  uint64_t file = 0;
  int64_t start_line = 0;
};

class Decoder {
 public:
  std::string run(const std::string& message) {
    // Strings stand at the end and are needed first.
    collect(message);
    for (protozero::pbf_reader profile(message); profile.next();) print(profile);
    return out_.str();
  }

 private:
  std::string text(uint64_t index) {
    return index < strings_.size() ? strings_[index] : "error: no such string";
  }

  std::string value_type(protozero::pbf_reader message) {
    uint64_t type = 0;
    uint64_t unit = 0;
    while (message.next()) (message.tag() == 1 ? type : unit) = static_cast<uint64_t>(message.get_int64());
    return text(type) + "/" + text(unit);
  }

  void collect(const std::string& message) {
    for (protozero::pbf_reader profile(message); profile.next();) {
      if (profile.tag() == 4) {
        collect_location(profile.get_message());
      } else if (profile.tag() == 5) {
        collect_function(profile.get_message());
      } else if (profile.tag() == 6) {
        strings_.push_back(profile.get_string());
      } else {
        profile.skip();
      }
    }
  }

  void collect_location(protozero::pbf_reader message) {
    uint64_t id = 0;
    LocationRow row;
    while (message.next()) {
      switch (message.tag()) {
        case 1:
          id = message.get_uint64();
          break;
        case 2:
          row.mapping = message.get_uint64();
          break;
        case 3:
          row.address = message.get_uint64();
          break;
        case 4: {
          LineRow line;
          for (auto field = message.get_message(); field.next();) {
            if (field.tag() == 1) {
              line.function = field.get_uint64();
            } else {
              line.line = field.get_int64();
            }
          }
          row.lines.push_back(line);
          break;
        }
        default:
          message.skip();
      }
    }
    if (!locations_.emplace(id, row).second) out_ << "error: location " << id << " twice\n";
  }

  void collect_function(protozero::pbf_reader message) {
    uint64_t id = 0;
    FunctionRow row;
    while (message.next()) {
      const auto value = static_cast<uint64_t>(message.get_int64());
      switch (message.tag()) {
        case 1:
          id = value;
          break;
        case 2:
          row.name = value;
          break;
        case 3:
          row.system_name = value;
          break;
        case 4:
          row.file = value;
          break;
        case 5:
          row.start_line = static_cast<int64_t>(value);
          break;
        default:
          out_ << "error: unknown field of a function\n";
      }
    }
    if (!functions_.emplace(id, row).second) out_ << "error: function " << id << " twice\n";
  }

  void print(protozero::pbf_reader& profile) {
    switch (profile.tag()) {
      case 1:
        out_ << "sample type " << value_type(profile.get_message()) << "\n";
        break;
      case 2:
        print_sample(profile.get_message());
        break;
      case 3:
        print_mapping(profile.get_message());
        break;
      case 9:
        out_ << "time " << profile.get_int64() << "\n";
        break;
      case 10:
        out_ << "duration " << profile.get_int64() << "\n";
        break;
      case 11:
        out_ << "period type " << value_type(profile.get_message()) << "\n";
        break;
      case 12:
        out_ << "period " << profile.get_int64() << "\n";
        break;
      case 13:
        out_ << "comment " << text(static_cast<uint64_t>(profile.get_int64())) << "\n";
        break;
      case 14:
        out_ << "default sample type " << text(static_cast<uint64_t>(profile.get_int64())) << "\n";
        break;
      default:
        profile.skip();
    }
  }

  void print_sample(protozero::pbf_reader message) {
    std::vector<uint64_t> locations;
    out_ << "sample";
    while (message.next()) {
      switch (message.tag()) {
        case 1:
          for (const uint64_t id : message.get_packed_uint64()) locations.push_back(id);
          break;
        case 2:
          for (const int64_t value : message.get_packed_int64()) out_ << " " << value;
          break;
        case 3:
          print_label(message.get_message());
          break;
        default:
          out_ << "error: unknown field of a sample\n";
          message.skip();
      }
    }
    out_ << "\n";
    for (const uint64_t id : locations) print_location(id);
  }

  void print_label(protozero::pbf_reader message) {
    std::string key;
    std::string value;
    while (message.next()) {
      const int64_t number = message.get_int64();
      if (message.tag() == 1) key = text(static_cast<uint64_t>(number));
      if (message.tag() == 2) value = text(static_cast<uint64_t>(number));
      if (message.tag() == 3) value = std::to_string(number);
    }
    out_ << " [" << key << "=" << value << "]";
  }

  void print_location(uint64_t id) {
    const auto row = locations_.find(id);
    if (row == locations_.end()) {
      out_ << "  error: no such location\n";
      return;
    }
    out_ << "  0x" << std::hex << row->second.address << std::dec << " mapping " << row->second.mapping
         << "\n";
    for (const LineRow& line : row->second.lines) {
      const auto function = functions_.find(line.function);
      if (function == functions_.end()) {
        out_ << "    error: no such function\n";
        continue;
      }
      const FunctionRow& f = function->second;
      out_ << "    " << text(f.name) << " " << text(f.file) << ":" << line.line << " starts " << f.start_line
           << (f.name == f.system_name ? "" : " error: other system name") << "\n";
    }
  }

  void print_mapping(protozero::pbf_reader message) {
    static constexpr std::array kFlags = {" functions", " filenames", " lines", " inlined"};
    std::array<uint64_t, 11> fields{};
    while (message.next()) {
      if (message.tag() < fields.size()) {
        fields[message.tag()] = message.get_uint64();
      } else {
        message.skip();
      }
    }
    out_ << "mapping " << fields[1] << std::hex << " 0x" << fields[2] << "-0x" << fields[3] << " offset 0x"
         << fields[4] << std::dec << " " << text(fields[5]) << " build id " << text(fields[6]) << " has";
    for (size_t i = 0; i < kFlags.size(); ++i) out_ << (fields[7 + i] != 0 ? kFlags[i] : "");
    out_ << "\n";
  }

  std::ostringstream out_;
  std::vector<std::string> strings_;
  std::map<uint64_t, LocationRow> locations_;
  std::map<uint64_t, FunctionRow> functions_;
};

}  // namespace

std::string gunzip(const std::string& bytes) {
  z_stream stream{};
  if (inflateInit2(&stream, MAX_WBITS + 16) != Z_OK) return "error: zlib";
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string plain;
  std::array<char, 65536> chunk{};
  int result = Z_OK;
  while (result == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
    stream.avail_out = chunk.size();
    result = inflate(&stream, Z_NO_FLUSH);
    plain.append(chunk.data(), chunk.size() - stream.avail_out);
  }
  const bool complete = result == Z_STREAM_END && stream.avail_in == 0;
  inflateEnd(&stream);
  return complete ? plain : "error: not one whole gzip member";
}

std::string decode_to_text(const std::string& message) { return Decoder().run(message); }

}  // namespace goheapd::exporters::pprof

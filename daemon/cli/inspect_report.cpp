// What an Inspection looks like: for people and for scripts.
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "daemon/cli/inspect.h"

namespace goheapd::cli {
namespace {

using Json = nlohmann::ordered_json;
using gobin::ProbePoint;
using gobin::SiteCandidate;

std::string hex(uint64_t value) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(value));
  return text.data();
}

std::string hex_bytes(const SiteCandidate& site) {
  std::string text;
  for (size_t i = 0; i < site.size; ++i) {
    std::array<char, 4> byte{};
    std::snprintf(byte.data(), byte.size(), "%02x", site.bytes[i]);
    text += (i == 0 ? "" : " ") + std::string(byte.data());
  }
  return text;
}

std::string_view name_of(gobin::Arch arch) { return arch == gobin::Arch::arm64 ? "arm64" : "amd64"; }

// `text`, then spaces up to `width`, at least one.
std::string column(std::string text, size_t width) {
  text.resize(std::max(width, text.size() + 1), ' ');
  return text;
}

std::string how_linked(const gobin::BinaryInfo& info) {
  std::string text = info.pie ? "position independent" : "fixed address";
  text += info.external_link ? ", by the system linker (cgo)" : ", by Go's linker";
  text += info.stripped ? ", stripped" : ", with symbols";
  if (!info.has_section_headers) text += ", no section headers";
  if (!info.has_build_info) text += ", no build information (version proven from code)";
  return text;
}

std::string votes_of(const gobin::GlobalVariable& variable) {
  if (!variable.vaddr) return variable.reason;
  std::string text;
  if (variable.votes != 0) text = "code of " + std::to_string(variable.votes) + " functions";
  if (variable.dissenting_votes != 0) text += " against " + std::to_string(variable.dissenting_votes);
  if (variable.in_symbol_table) text += text.empty() ? "symbol table" : ", symbol table agrees";
  return text;
}

void append_points(const char* title, const Expected<std::vector<ProbePoint>>& points, bool verbose,
                   std::string& text) {
  text += std::string("\nprobe sites, mode ") + title + "\n";
  if (!points) {
    text += "  none: " + to_string(points.error()) + "\n";
    return;
  }
  for (const ProbePoint& point : *points) {
    text += "  " + point.function;
    if (point.min_size > 1) text += ", sizes from " + std::to_string(point.min_size);
    if (point.ignored_caller) {
      text += ", not when called from " + hex(point.ignored_caller->begin) + ".." +
              hex(point.ignored_caller->end);
    }
    text += "\n";
    for (const SiteCandidate& site : point.candidates) {
      const bool first = &site == &point.candidates.front();
      if (!first && !verbose) break;
      text += column(first ? "    *" : "     ", 6) + column("+" + hex(site.function_offset), 8) +
              column(hex(site.vaddr), 11) + column(hex_bytes(site), 19) + column(site.text, 36) +
              column(std::string(gobin::name_of(site.cost)), 18) +
              (site.caller == gobin::CallerPlace::own_frame ? "own frame" : "return address") + "\n";
      if (verbose) text += "           " + site.reason + "\n";
    }
  }
}

void append_live(const LiveFindings& live, std::string& text) {
  text += "\nprocess " + std::to_string(live.pid) + "\n";
  text += "  load bias         " + hex(live.load_bias) + "\n";
  if (live.sample_rate) text += "  MemProfileRate    " + std::to_string(*live.sample_rate) + "\n";
  text += "  self check        " + (live.error ? to_string(*live.error) : std::string("passed")) + "\n";
}

Json site_to_json(const SiteCandidate& site) {
  static constexpr std::string_view kKinds[] = {"after_frame", "push_frame_pointer", "stack_check", "entry",
                                                "result_branch"};
  return {{"kind", kKinds[static_cast<size_t>(site.kind)]},
          {"offset", site.function_offset},
          {"address", hex(site.vaddr)},
          {"file_offset", hex(site.file_offset)},
          {"bytes", hex_bytes(site)},
          {"instruction", site.text},
          {"cost", gobin::name_of(site.cost)},
          {"caller", gobin::name_of(site.caller)},
          {"may_hit_twice", site.may_hit_twice},
          {"reason", site.reason}};
}

// Empty where the mode does not work: modes.MODE.why says why.
Json points_to_json(const Expected<std::vector<ProbePoint>>& points) {
  Json list = Json::array();
  if (!points) return list;
  for (const ProbePoint& point : *points) {
    Json entry = {
        {"role", gobin::name_of(point.role)}, {"function", point.function}, {"min_size", point.min_size}};
    if (point.ignored_caller) {
      entry["ignored_caller"] = {hex(point.ignored_caller->begin), hex(point.ignored_caller->end)};
    }
    entry["sites"] = Json::array();
    for (const SiteCandidate& site : point.candidates) entry["sites"].push_back(site_to_json(site));
    list.push_back(std::move(entry));
  }
  return list;
}

// Paths and names come from strangers: whatever is no UTF-8 must not end the report.
std::string dump(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

}  // namespace

std::string to_text(const Inspection& inspection, bool verbose) {
  const gobin::BinaryInfo& info = inspection.info;
  std::string text = inspection.path + "\n";
  text +=
      "  version           " + info.version.text + " (structs as in " + inspection.measured_release + ")\n";
  if (!info.main_package.empty()) text += "  program           " + info.main_package + "\n";
  if (!info.module.empty()) text += "  module            " + info.module + " " + info.module_version + "\n";
  text += "  architecture      " + std::string(name_of(info.arch)) + "\n";
  text += "  linked            " + how_linked(info) + "\n";
  if (!info.gnu_build_id.empty()) text += "  GNU build id      " + info.gnu_build_id + "\n";
  if (!info.go_build_id.empty()) text += "  Go build id       " + info.go_build_id + "\n";
  text += "  memory profile    " +
          std::string(inspection.links_memory_profile ? "linked"
                                                      : "not linked: the runtime's sampler stays off") +
          "\n";
  if (inspection.live) append_live(*inspection.live, text);

  text += "\nmodes\n";
  for (const Ability& ability : inspection.abilities) {
    text += "  " + column(ability.mode, 9) + column(ability.works ? "works" : "no", 7) + ability.why + "\n";
  }
  append_points("sampled, source runtime", inspection.sampled, verbose, text);
  append_points("sampled, source spans", inspection.spans, verbose, text);
  append_points("exact", inspection.exact, verbose, text);

  if (!verbose) return text + "\n--verbose tells more: other sites, runtime variables, struct layout\n";
  text += "\nruntime variables\n";
  for (const gobin::GlobalVariable& variable : inspection.variables) {
    text += "  " + column(std::string(variable.name), 28) +
            column(variable.vaddr ? hex(*variable.vaddr) : "-", 13) + votes_of(variable) + "\n";
  }
  text += "\nruntime layout: offset and size in bytes, place in Go's source\n";
  for (const gobin::FieldDescription& field : inspection.layout) {
    const bool is_struct =
        field.name.find('.') == std::string::npos && field.name.find(' ') == std::string::npos;
    const bool is_constant = field.name.find(' ') != std::string::npos;
    text += "  " + column(field.name, 38) + column(is_struct ? "" : std::to_string(field.offset), 9) +
            column(is_constant ? "" : std::to_string(field.size), 8) + field.link + "\n";
  }
  return text;
}

std::string to_json(const Inspection& inspection) {
  const gobin::BinaryInfo& info = inspection.info;
  Json json = {{"path", inspection.path},
               {"supported", true},
               {"go_version", info.version.text},
               {"measured_release", inspection.measured_release},
               {"main_package", info.main_package},
               {"module", info.module},
               {"module_version", info.module_version},
               {"arch", name_of(info.arch)},
               {"pie", info.pie},
               {"stripped", info.stripped},
               {"external_link", info.external_link},
               {"section_headers", info.has_section_headers},
               {"build_info", info.has_build_info},
               {"gnu_build_id", info.gnu_build_id},
               {"go_build_id", info.go_build_id},
               {"links_memory_profile", inspection.links_memory_profile}};
  json["reason"] = nullptr;
  json["process"] = nullptr;
  if (inspection.live) {
    const LiveFindings& live = *inspection.live;
    json["process"] = {{"pid", live.pid}, {"load_bias", hex(live.load_bias)}};
    json["process"]["mem_profile_rate"] = live.sample_rate ? Json(*live.sample_rate) : Json(nullptr);
    json["process"]["error"] = live.error ? Json(to_string(*live.error)) : Json(nullptr);
  }
  json["modes"] = Json::object();
  for (const Ability& ability : inspection.abilities) {
    json["modes"][ability.mode] = {{"works", ability.works}, {"why", ability.why}};
  }
  json["probe_sites"] = {{"sampled", points_to_json(inspection.sampled)},
                         {"sampled_spans", points_to_json(inspection.spans)},
                         {"exact", points_to_json(inspection.exact)}};
  json["variables"] = Json::array();
  for (const gobin::GlobalVariable& variable : inspection.variables) {
    json["variables"].push_back({{"name", variable.name},
                                 {"address", variable.vaddr ? Json(hex(*variable.vaddr)) : Json(nullptr)},
                                 {"votes", variable.votes},
                                 {"dissenting_votes", variable.dissenting_votes},
                                 {"in_symbol_table", variable.in_symbol_table},
                                 {"reason", variable.reason}});
  }
  json["layout"] = Json::array();
  for (const gobin::FieldDescription& field : inspection.layout) {
    json["layout"].push_back(
        {{"name", field.name}, {"offset", field.offset}, {"size", field.size}, {"source", field.link}});
  }
  return dump(json);
}

std::string refusal_to_json(const std::string& path, const Error& error) {
  return dump({{"path", path}, {"supported", false}, {"reason", to_string(error)}});
}

}  // namespace goheapd::cli

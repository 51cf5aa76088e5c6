// The structs of bpf/wire.h as the compiled BPF object describes them, against what this compiler makes of them.
#include <bpf/btf.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <map>
#include <memory>
#include <string>

#include "bpf/wire.h"

namespace goheapd::probe {
namespace {

struct FreeBtf {
  void operator()(btf* types) const { btf__free(types); }
};

struct Member {
  size_t offset;
  size_t size;
};
struct Layout {
  size_t size;
  std::map<std::string, Member> members;
};

#define MEMBER(type, name)                                          \
  {                                                                 \
#name, { offsetof(wire::type, name), sizeof(wire::type::name) } \
  }

const std::map<std::string, Layout>& expected_layouts() {
  static const std::map<std::string, Layout> layouts = {
      {"WireTarget",
       {sizeof(wire::WireTarget),
        {MEMBER(WireTarget, tgid),
         MEMBER(WireTarget, session),
         MEMBER(WireTarget, recording),
         MEMBER(WireTarget, max_small),
         MEMBER(WireTarget, header_over),
         MEMBER(WireTarget, profile_special_kind),
         MEMBER(WireTarget, g_m),
         MEMBER(WireTarget, m_curg),
         MEMBER(WireTarget, g_goid),
         MEMBER(WireTarget, special_kind),
         MEMBER(WireTarget, special_bucket),
         MEMBER(WireTarget, type_ptr_bytes),
         MEMBER(WireTarget, storm_ns),
         MEMBER(WireTarget, window_end_ns),
         MEMBER(WireTarget, ignored_caller_begin),
         MEMBER(WireTarget, ignored_caller_end),
         MEMBER(WireTarget, sweepgen_address),
         MEMBER(WireTarget, mean_distance),
         MEMBER(WireTarget, burst_distance),
         MEMBER(WireTarget, releases_by_span),
         MEMBER(WireTarget, span_index_mask),
         MEMBER(WireTarget, m_p),
         MEMBER(WireTarget, p_mcache),
         MEMBER(WireTarget, span_start),
         MEMBER(WireTarget, span_freeindex),
         MEMBER(WireTarget, span_alloc_cache),
         MEMBER(WireTarget, span_alloc_bits),
         MEMBER(WireTarget, span_alloc_count),
         MEMBER(WireTarget, span_class),
         MEMBER(WireTarget, span_elemsize),
         MEMBER(WireTarget, mcache_alloc),
         MEMBER(WireTarget, span_window),
         MEMBER(WireTarget, span_nelems_bit),
         MEMBER(WireTarget, span_alloc_count_bit),
         MEMBER(WireTarget, span_class_bit),
         MEMBER(WireTarget, gc_parts),
         MEMBER(WireTarget, gc_leak_check),
         MEMBER(WireTarget, gc_triggered),
         MEMBER(WireTarget, stack_roots),
         MEMBER(WireTarget, stop_has_reason),
         MEMBER(WireTarget, m_preemptoff)}}},
      {"WireStop",
       {sizeof(wire::WireStop),
        {MEMBER(WireStop, began_ns), MEMBER(WireStop, session), MEMBER(WireStop, reason),
         MEMBER(WireStop, text_length), MEMBER(WireStop, reserved), MEMBER(WireStop, text)}}},
      {"WireWorldStop",
       {sizeof(wire::WireWorldStop), {MEMBER(WireWorldStop, header), MEMBER(WireWorldStop, stop)}}},
      {"WireRange", {sizeof(wire::WireRange), {MEMBER(WireRange, begin), MEMBER(WireRange, end)}}},
      {"WireSiteKey",
       {sizeof(wire::WireSiteKey),
        {MEMBER(WireSiteKey, tgid), MEMBER(WireSiteKey, reserved), MEMBER(WireSiteKey, address)}}},
      {"WireStatistics",
       {sizeof(wire::WireStatistics),
        {MEMBER(WireStatistics, hits), MEMBER(WireStatistics, single_step_hits),
         MEMBER(WireStatistics, program_ns), MEMBER(WireStatistics, usual_run_ns),
         MEMBER(WireStatistics, storm_check_ns), MEMBER(WireStatistics, countdown),
         MEMBER(WireStatistics, burst_began_ns), MEMBER(WireStatistics, burst_samples),
         MEMBER(WireStatistics, lost)}}},
      {"WireHeader",
       {sizeof(wire::WireHeader),
        {MEMBER(WireHeader, kind), MEMBER(WireHeader, tgid), MEMBER(WireHeader, time_ns),
         MEMBER(WireHeader, session), MEMBER(WireHeader, tid)}}},
      {"WireSampledBirth",
       {sizeof(wire::WireSampledBirth),
        {MEMBER(WireSampledBirth, header), MEMBER(WireSampledBirth, address),
         MEMBER(WireSampledBirth, bucket), MEMBER(WireSampledBirth, goid)}}},
      {"WireSampledDeath",
       {sizeof(wire::WireSampledDeath),
        {MEMBER(WireSampledDeath, header), MEMBER(WireSampledDeath, address),
         MEMBER(WireSampledDeath, bucket), MEMBER(WireSampledDeath, size)}}},
      {"WireProfileFlush",
       {sizeof(wire::WireProfileFlush),
        {MEMBER(WireProfileFlush, header), MEMBER(WireProfileFlush, post_sweep),
         MEMBER(WireProfileFlush, reserved)}}},
      {"WireGcPart",
       {sizeof(wire::WireGcPart),
        {MEMBER(WireGcPart, address), MEMBER(WireGcPart, bytes), MEMBER(WireGcPart, reserved)}}},
      {"WireGcStart",
       {sizeof(wire::WireGcStart),
        {MEMBER(WireGcStart, time_ns), MEMBER(WireGcStart, session), MEMBER(WireGcStart, reserved),
         MEMBER(WireGcStart, controller)}}},
      {"WireGcCycle",
       {sizeof(wire::WireGcCycle),
        {MEMBER(WireGcCycle, header), MEMBER(WireGcCycle, parts), MEMBER(WireGcCycle, start)}}},
      {"WireStackEvent",
       {sizeof(wire::WireStackEvent),
        {MEMBER(WireStackEvent, header), MEMBER(WireStackEvent, address), MEMBER(WireStackEvent, size),
         MEMBER(WireStackEvent, goid), MEMBER(WireStackEvent, hash), MEMBER(WireStackEvent, mean_distance),
         MEMBER(WireStackEvent, sweepgen), MEMBER(WireStackEvent, objects),
         MEMBER(WireStackEvent, span_class), MEMBER(WireStackEvent, reserved), MEMBER(WireStackEvent, count),
         MEMBER(WireStackEvent, flags), MEMBER(WireStackEvent, frames)}}},
      {"WireExactKey",
       {sizeof(wire::WireExactKey),
        {MEMBER(WireExactKey, stack_hash), MEMBER(WireExactKey, type), MEMBER(WireExactKey, session),
         MEMBER(WireExactKey, size_class), MEMBER(WireExactKey, flags)}}},
      {"WireExactValue",
       {sizeof(wire::WireExactValue),
        {MEMBER(WireExactValue, objects), MEMBER(WireExactValue, requested_bytes),
         MEMBER(WireExactValue, slot_bytes), MEMBER(WireExactValue, flags),
         MEMBER(WireExactValue, reserved)}}},
      {"WireSpanRunCut",
       {sizeof(wire::WireSpanRunCut),
        {MEMBER(WireSpanRunCut, header), MEMBER(WireSpanRunCut, address), MEMBER(WireSpanRunCut, opened_ns),
         MEMBER(WireSpanRunCut, used_objects), MEMBER(WireSpanRunCut, reserved)}}},
      {"WireRunKey",
       {sizeof(wire::WireRunKey),
        {MEMBER(WireRunKey, owner), MEMBER(WireRunKey, session), MEMBER(WireRunKey, span_class)}}},
      {"WireSpanCache", {sizeof(wire::WireSpanCache), {MEMBER(WireSpanCache, open)}}},
      {"WireOpenRun",
       {sizeof(wire::WireOpenRun),
        {MEMBER(WireOpenRun, span), MEMBER(WireOpenRun, address), MEMBER(WireOpenRun, opened_ns),
         MEMBER(WireOpenRun, used_before)}}},
      {"WireStackKey",
       {sizeof(wire::WireStackKey),
        {MEMBER(WireStackKey, stack_hash), MEMBER(WireStackKey, session), MEMBER(WireStackKey, reserved)}}},
  };
  return layouts;
}

class WireLayout : public ::testing::Test {
 protected:
  void SetUp() override {
    types_.reset(btf__parse(GOHEAPD_BPF_OBJECT, nullptr));
    ASSERT_NE(types_, nullptr) << "no type information in " GOHEAPD_BPF_OBJECT;
  }
  const btf* types() const { return types_.get(); }

 private:
  std::unique_ptr<btf, FreeBtf> types_;
};

TEST_F(WireLayout, MembersLieAndMeasureTheSameOnBothSides) {
  for (const auto& [name, layout] : expected_layouts()) {
    SCOPED_TRACE(name);
    const int id = btf__find_by_name_kind(types(), name.c_str(), BTF_KIND_STRUCT);
    ASSERT_GT(id, 0) << "the BPF object does not use it";
    const btf_type* const type = btf__type_by_id(types(), static_cast<uint32_t>(id));
    EXPECT_EQ(type->size, layout.size);
    // Also the other way: a member that the table above does not know.
    ASSERT_EQ(btf_vlen(type), layout.members.size());
    const btf_member* const members = btf_members(type);
    size_t end = 0;
    for (uint32_t i = 0; i < btf_vlen(type); ++i) {
      const std::string member = btf__name_by_offset(types(), members[i].name_off);
      SCOPED_TRACE(member);
      ASSERT_TRUE(layout.members.contains(member));
      const Member& expected = layout.members.at(member);
      EXPECT_EQ(btf_member_bit_offset(type, i), expected.offset * 8);
      EXPECT_EQ(btf__resolve_size(types(), members[i].type), static_cast<int64_t>(expected.size));
      EXPECT_EQ(expected.offset, end) << "padding that is not written out";
      end = expected.offset + expected.size;
    }
    EXPECT_EQ(end, layout.size) << "padding at the end";
  }
}

// A struct that nobody put into the table above would go unchecked.
TEST_F(WireLayout, EveryWireStructIsChecked) {
  for (uint32_t id = 1; id < btf__type_cnt(types()); ++id) {
    const btf_type* const type = btf__type_by_id(types(), id);
    if (!btf_is_struct(type)) continue;
    const std::string name = btf__name_by_offset(types(), type->name_off);
    if (name.starts_with("Wire")) {
      EXPECT_TRUE(expected_layouts().contains(name)) << name;
    }
  }
}

}  // namespace
}  // namespace goheapd::probe

// Processors, threads and goroutines: runtime/runtime2.go.
// runtime_layout_table.h explains the columns; tests/go_programs/layout_extractor prints them for a new
// release.
#include "daemon/gobin/runtime_layout_table.h"

namespace goheapd::gobin::layout_table {
namespace {

using P = RuntimeLayout::P;
constexpr FieldRow<P> kPFields[] = {
    {"id", &P::id, {{19, 0, 4, 610}}},
    {"status", &P::status, {{19, 4, 4, 611}}},
    {"m", &P::m, {{19, 56, 8, 616}, {23, 48, 8, 657}}},
    {"mcache", &P::mcache, {{19, 64, 8, 617}, {23, 56, 8, 658}}},
    {"gFree", &P::g_free, {{19, 2464, 16, 647}, {23, 2456, 16, 688}, {26, 2464, 16, 821}}},
    {"statsSeq",
     &P::stats_seq,
     {{19, 8828, 4, 723}, {22, 8860, 4, 752}, {23, 8836, 4, 746}, {25, 9388, 4, 735}, {26, 13668, 4, 888}}},
};
constexpr StructTable<P> kP = {
    "p",
    {{19, "runtime/runtime2.go"}},
    {{19, 8912, 609}, {22, 8944, 646}, {24, 8952, 632}, {25, 9512, 642}, {26, 15920, 772, 14320}},
    kPFields};

using Schedt = RuntimeLayout::Schedt;
constexpr FieldRow<Schedt> kSchedtFields[] = {
    {"mnext", &Schedt::mnext, {{19, 48, 8, 781}, {25, 56, 8, 783}, {26, 72, 8, 944}}},
    {"nmfreed", &Schedt::nmfreed, {{19, 64, 8, 784}, {25, 72, 8, 786}, {26, 88, 8, 947}}},
    {"ngsys", &Schedt::ngsys, {{19, 72, 4, 786}, {25, 80, 4, 788}, {26, 96, 4, 949}}},
    {"gFree",
     &Schedt::g_free,
     {{19, 152, 32, 809}, {21, 160, 32, 816}, {25, 168, 40, 810}, {26, 184, 40, 972}}},
    {"gFree.stack",
     &Schedt::g_free_stack,
     {{19, 160, 8, 811}, {21, 168, 8, 818}, {25, 176, 16, 812}, {26, 192, 16, 974}}},
    {"gFree.noStack",
     &Schedt::g_free_no_stack,
     {{19, 168, 8, 812}, {21, 176, 8, 819}, {25, 192, 16, 813}, {26, 208, 16, 975}}},
    {"gFree.n", &Schedt::g_free_n, {{19, 176, 4, 813}, {21, 184, 4, 820}, {25}}},
    {"stwStoppingTimeGC",
     &Schedt::stw_stopping_time_gc,
     {{22, 1632, 1296, 901}, {25, 1656, 1296, 871}, {26, 1672, 1296, 1033}}},
    {"stwStoppingTimeOther",
     &Schedt::stw_stopping_time_other,
     {{22, 2928, 1296, 902}, {25, 2952, 1296, 872}, {26, 2968, 1296, 1034}}},
    {"stwTotalTimeGC",
     &Schedt::stw_total_time_gc,
     {{22, 4224, 1296, 909}, {25, 4248, 1296, 879}, {26, 4264, 1296, 1041}}},
    {"stwTotalTimeOther",
     &Schedt::stw_total_time_other,
     {{22, 5520, 1296, 910}, {25, 5544, 1296, 880}, {26, 5560, 1296, 1042}}},
};
constexpr StructTable<Schedt> kSchedt = {
    "schedt",
    {{19, "runtime/runtime2.go"}},
    {{19, 6080, 767}, {21, 1632, 774}, {22, 6824, 799}, {25, 6848, 769}, {26, 6872, 930}},
    kSchedtFields};

using GList = RuntimeLayout::GList;
constexpr FieldRow<GList> kGListFields[] = {
    {"size", &GList::size, {{25, 8, 4, 7392}}},
};
constexpr StructTable<GList> kGList = {
    "gList", {{19, "runtime/proc.go"}}, {{19, 8, 6106}, {25, 16, 7390}}, kGListFields};

using M = RuntimeLayout::M;
constexpr FieldRow<M> kMFields[] = {
    {"g0", &M::g0, {{19, 0, 8, 527}}},
    {"procid", &M::procid, {{19, 72, 8, 533}, {25, 64, 8, 538}}},
    {"gsignal", &M::gsignal, {{19, 80, 8, 534}, {25, 72, 8, 539}}},
    {"tls", &M::tls, {{19, 136, 48, 537}, {25, 128, 48, 542}}},
    {"curg", &M::curg, {{19, 192, 8, 539}, {25, 184, 8, 544}}},
    {"p", &M::p, {{19, 208, 8, 541}, {25, 200, 8, 546}, {26, 208, 8, 641}}},
    {"id", &M::id, {{19, 232, 8, 544}, {25, 224, 8, 549}, {26, 232, 8, 645}}},
    {"mallocing", &M::mallocing, {{19, 240, 4, 545}, {25, 232, 4, 550}, {26, 240, 4, 646}}},
    {"preemptoff", &M::preemptoff, {{19, 248, 16, 547}, {25, 240, 16, 552}, {26, 248, 16, 648}}},
    {"locks", &M::locks, {{19, 264, 4, 548}, {25, 256, 4, 553}, {26, 264, 4, 649}}},
    {"ncgo", &M::ncgo, {{19, 312, 4, 561}, {22, 304, 4, 587}, {25, 320, 4, 570}, {26, 328, 4, 666}}},
    {"incgo", &M::incgo, {{19, 280, 1, 555}, {25, 272, 1, 560}, {26, 280, 1, 656}}},
    {"profStack", &M::prof_stack, {{23, 688, 24, 603}, {25, 704, 24, 583}, {26, 736, 24, 681}}},
    {"alllink", &M::alllink, {{19, 336, 8, 565}, {22, 328, 8, 591}, {25, 344, 8, 574}, {26, 352, 8, 670}}},
};
constexpr StructTable<M> kM = {"m",
                               {{19, "runtime/runtime2.go"}},
                               {{19, 1008, 526},
                                {22, 2024, 550},
                                {23, 1760, 552},
                                {24, 1808, 528},
                                {25, 1816, 532},
                                {26, 1824, 618},
                                {27, 1832, 616}},
                               kMFields};

using G = RuntimeLayout::G;
constexpr FieldRow<G> kGFields[] = {
    {"stack", &G::stack, {{19, 0, 16, 415}}},
    {"stackguard0", &G::stackguard0, {{19, 16, 8, 416}}},
    {"m", &G::m, {{19, 48, 8, 421}}},
    {"sched", &G::sched, {{19, 56, 56, 422}, {25, 56, 48, 409}}},
    {"atomicstatus", &G::atomicstatus, {{19, 144, 4, 438}, {23, 152, 4, 456}, {25, 144, 4, 428}}},
    {"goid", &G::goid, {{19, 152, 8, 440}, {23, 160, 8, 458}, {25, 152, 8, 430}}},
    {"labels",
     &G::labels,
     {{19, 360, 8, 488}, {21, 344, 8, 492}, {23, 352, 8, 508}, {25, 344, 8, 483}, {26, 352, 8, 565}}},
    {"gopc",
     &G::gopc,
     {{19, 296, 8, 482}, {21, 280, 8, 486}, {23, 288, 8, 502}, {25, 280, 8, 477}, {26, 288, 8, 559}}},
    {"startpc",
     &G::startpc,
     {{19, 312, 8, 484}, {21, 296, 8, 488}, {23, 304, 8, 504}, {25, 296, 8, 479}, {26, 304, 8, 561}}},
    {"parentGoid",
     &G::parent_goid,
     {{21, 272, 8, 485}, {23, 280, 8, 501}, {25, 272, 8, 476}, {26, 280, 8, 558}}},
    {"waiting",
     &G::waiting,
     {{19, 328, 8, 486}, {21, 312, 8, 490}, {23, 320, 8, 506}, {25, 312, 8, 481}, {26, 320, 8, 563}}},
    {"gcAssistBytes",
     &G::gc_assist_bytes,
     {{19, 384, 8, 505},
      {21, 400, 8, 512},
      {22, 416, 8, 529},
      {23, 424, 8, 531},
      {24, 432, 8, 507},
      {25, 424, 8, 507},
      {26, 440, 8, 593}}},
};
constexpr StructTable<G> kG = {
    "g",
    {{19, "runtime/runtime2.go"}},
    {{19, 392, 407}, {21, 408, 414}, {22, 424, 422}, {23, 432, 422}, {24, 440, 396}, {26, 456, 473}},
    kGFields};

using Gobuf = RuntimeLayout::Gobuf;
constexpr FieldRow<Gobuf> kGobufFields[] = {
    {"sp", &Gobuf::sp, {{19, 0, 8, 329}}},
    {"pc", &Gobuf::pc, {{19, 8, 8, 330}}},
    {"g", &Gobuf::g, {{19, 16, 8, 331}}},
    {"lr", &Gobuf::lr, {{19, 40, 8, 334}, {25, 32, 8, 314}}},
    {"bp", &Gobuf::bp, {{19, 48, 8, 335}, {25, 40, 8, 315}}},
};
constexpr StructTable<Gobuf> kGobuf = {
    "gobuf", {{19, "runtime/runtime2.go"}}, {{19, 56, 316}, {25, 48, 297}}, kGobufFields};

}  // namespace

void visit_scheduler(RuntimeLayout& layout, std::vector<FieldDescription>* descriptions) {
  visit(kP, layout, layout.p, descriptions);
  visit(kSchedt, layout, layout.schedt, descriptions);
  visit(kGList, layout, layout.g_list, descriptions);
  visit(kM, layout, layout.m, descriptions);
  visit(kG, layout, layout.g, descriptions);
  visit(kGobuf, layout, layout.gobuf, descriptions);
}

}  // namespace goheapd::gobin::layout_table

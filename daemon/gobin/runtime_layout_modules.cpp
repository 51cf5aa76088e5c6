// Modules, functions and types: runtime/symtab.go, runtime2.go, internal/abi, and the map that holds labels.
// runtime_layout_table.h explains the columns; tests/go_programs/layout_extractor prints them for a new
// release.
#include "daemon/gobin/runtime_layout_table.h"

namespace goheapd::gobin::layout_table {
namespace {

using Moduledata = RuntimeLayout::Moduledata;
constexpr FieldRow<Moduledata> kModuledataFields[] = {
    {"pcHeader", &Moduledata::pc_header, {{19, 0, 8, 416}}},
    {"funcnametab", &Moduledata::funcnametab, {{19, 8, 24, 417}}},
    {"cutab", &Moduledata::cutab, {{19, 32, 24, 418}}},
    {"filetab", &Moduledata::filetab, {{19, 56, 24, 419}}},
    {"pctab", &Moduledata::pctab, {{19, 80, 24, 420}}},
    {"pclntable", &Moduledata::pclntable, {{19, 104, 24, 421}}},
    {"ftab", &Moduledata::ftab, {{19, 128, 24, 422}}},
    {"findfunctab", &Moduledata::findfunctab, {{19, 152, 8, 423}}},
    {"minpc", &Moduledata::minpc, {{19, 160, 8, 424}}},
    {"maxpc", &Moduledata::maxpc, {{19, 168, 8, 424}}},
    {"text", &Moduledata::text, {{19, 176, 8, 426}}},
    {"etext", &Moduledata::etext, {{19, 184, 8, 426}}},
    {"noptrdata", &Moduledata::noptrdata, {{19, 192, 8, 427}}},
    {"enoptrdata", &Moduledata::enoptrdata, {{19, 200, 8, 427}}},
    {"data", &Moduledata::data, {{19, 208, 8, 428}}},
    {"edata", &Moduledata::edata, {{19, 216, 8, 428}}},
    {"bss", &Moduledata::bss, {{19, 224, 8, 429}}},
    {"ebss", &Moduledata::ebss, {{19, 232, 8, 429}}},
    {"noptrbss", &Moduledata::noptrbss, {{19, 240, 8, 430}}},
    {"enoptrbss", &Moduledata::enoptrbss, {{19, 248, 8, 430}}},
    {"end", &Moduledata::end, {{19, 256, 8, 431}, {21, 272, 8, 353}}},
    {"types", &Moduledata::types, {{19, 280, 8, 432}, {21, 296, 8, 354}}},
    {"etypes", &Moduledata::etypes, {{19, 288, 8, 432}, {21, 304, 8, 354}, {27, 312, 8, 422}}},
    {"rodata", &Moduledata::rodata, {{19, 296, 8, 433}, {21, 312, 8, 355}, {27, 336, 8, 424}}},
    {"gofunc", &Moduledata::gofunc, {{19, 304, 8, 434}, {21, 320, 8, 356}, {27, 344, 8, 425}}},
    {"textsectmap",
     &Moduledata::textsectmap,
     {{19, 312, 24, 436}, {21, 328, 24, 358}, {26, 336, 24, 427}, {27, 360, 24, 428}}},
    {"modulename",
     &Moduledata::modulename,
     {{19, 448, 16, 445}, {21, 488, 16, 371}, {26, 496, 16, 440}, {27, 472, 16, 439}}},
    {"hasmain",
     &Moduledata::hasmain,
     {{19, 488, 1, 448}, {21, 528, 1, 374}, {26, 536, 1, 443}, {27, 512, 1, 442}}},
    {"bad",
     &Moduledata::bad,
     {{19, 536, 1, 454}, {21, 576, 1, 380}, {23, 529, 1, 429}, {26, 537, 1, 444}, {27, 513, 1, 443}}},
    {"next",
     &Moduledata::next,
     {{19, 544, 8, 456}, {21, 584, 8, 382}, {23, 576, 8, 435}, {26, 584, 8, 450}, {27, 560, 8, 449}}},
};
constexpr StructTable<Moduledata> kModuledata = {
    "moduledata",
    {{19, "runtime/symtab.go"}},
    {{19, 552, 415}, {21, 592, 334}, {23, 584, 388}, {26, 592, 402}, {27, 568, 402}},
    kModuledataFields};

using Func = RuntimeLayout::Func;
constexpr FieldRow<Func> kFuncFields[] = {
    {"entryOff|entryoff", &Func::entry_off, {{19, 0, 4, 877}}},
    {"nameOff|nameoff", &Func::name_off, {{19, 4, 4, 878}}},
    {"args", &Func::args, {{19, 8, 4, 880}}},
    {"deferreturn", &Func::deferreturn, {{19, 12, 4, 881}}},
    {"pcsp", &Func::pcsp, {{19, 16, 4, 883}}},
    {"pcfile", &Func::pcfile, {{19, 20, 4, 884}}},
    {"pcln", &Func::pcln, {{19, 24, 4, 885}}},
    {"npcdata", &Func::npcdata, {{19, 28, 4, 886}}},
    {"cuOffset", &Func::cu_offset, {{19, 32, 4, 887}}},
    {"startLine", &Func::start_line, {{21, 36, 4, 904}}},
    {"funcID", &Func::func_id, {{19, 36, 1, 888}, {21, 40, 1, 905}}},
    {"flag", &Func::flag, {{19, 37, 1, 889}, {21, 41, 1, 906}}},
    {"nfuncdata", &Func::nfuncdata, {{19, 39, 1, 891}, {21, 43, 1, 908}}},
};
constexpr StructTable<Func> kFunc = {
    "func", {{19, "runtime/runtime2.go"}}, {{19, 40, 876}, {21, 44, 890}}, kFuncFields};

using InlinedCall = RuntimeLayout::InlinedCall;
constexpr FieldRow<InlinedCall> kInlinedCallFields[] = {
    {"funcID", &InlinedCall::func_id, {{19, 2, 1, 1177}, {21, 0, 1, 11}}},
    {"nameOff|func_", &InlinedCall::name_off, {{19, 12, 4, 1181}, {21, 4, 4, 13}}},
    {"parentPc", &InlinedCall::parent_pc, {{19, 16, 4, 1182}, {21, 8, 4, 14}}},
    {"startLine", &InlinedCall::start_line, {{21, 12, 4, 15}}},
};
constexpr StructTable<InlinedCall> kInlinedCall = {"inlinedCall",
                                                   {{19, "runtime/symtab.go"}, {21, "runtime/symtabinl.go"}},
                                                   {{19, 20, 1175}, {21, 16, 10}},
                                                   kInlinedCallFields};

using Textsect = RuntimeLayout::Textsect;
constexpr FieldRow<Textsect> kTextsectFields[] = {
    {"vaddr", &Textsect::vaddr, {{19, 0, 8, 570}}},
    {"end", &Textsect::end, {{19, 8, 8, 571}}},
    {"baseaddr", &Textsect::baseaddr, {{19, 16, 8, 572}}},
};
constexpr StructTable<Textsect> kTextsect = {
    "textsect", {{19, "runtime/symtab.go"}}, {{19, 24, 569}}, kTextsectFields};

using Type = RuntimeLayout::Type;
constexpr FieldRow<Type> kTypeFields[] = {
    {"Size_|size", &Type::size, {{19, 0, 8, 36}}},
    {"PtrBytes|ptrdata", &Type::ptr_bytes, {{19, 8, 8, 37}}},
    {"Hash|hash", &Type::hash, {{19, 16, 4, 38}}},
    {"TFlag|tflag", &Type::tflag, {{19, 20, 1, 39}}},
    {"Align_|align", &Type::align, {{19, 21, 1, 40}}},
    {"Kind_|kind", &Type::kind, {{19, 23, 1, 42}}},
    {"GCData|gcdata", &Type::gc_data, {{19, 32, 8, 49}}},
    {"Str|str", &Type::str, {{19, 40, 4, 50}}},
    {"PtrToThis|ptrToThis", &Type::ptr_to_this, {{19, 44, 4, 51}}},
};
constexpr StructTable<Type> kType = {
    "type", {{19, "runtime/type.go"}, {21, "internal/abi/type.go"}}, {{19, 48, 35}}, kTypeFields};

using UncommonType = RuntimeLayout::UncommonType;
constexpr FieldRow<UncommonType> kUncommonTypeFields[] = {
    {"PkgPath|pkgpath", &UncommonType::pkg_path, {{19, 0, 4, 338}}},
    {"Mcount|mcount", &UncommonType::mcount, {{19, 4, 2, 339}}},
};
constexpr StructTable<UncommonType> kUncommonType = {"uncommontype",
                                                     {{19, "runtime/type.go"}, {21, "internal/abi/type.go"}},
                                                     {{19, 16, 337}},
                                                     kUncommonTypeFields};

using Hmap = RuntimeLayout::Hmap;
constexpr FieldRow<Hmap> kHmapFields[] = {
    {"count", &Hmap::count, {{19, 0, 8, 119}, {24}}},
    {"flags", &Hmap::flags, {{19, 8, 1, 120}, {24}}},
    {"B", &Hmap::b, {{19, 9, 1, 121}, {24}}},
    {"buckets", &Hmap::buckets, {{19, 16, 8, 125}, {24}}},
    {"oldbuckets", &Hmap::oldbuckets, {{19, 24, 8, 126}, {24}}},
};
constexpr StructTable<Hmap> kHmap = {"hmap", {{19, "runtime/map.go"}}, {{19, 48, 116}, {24}}, kHmapFields};

}  // namespace

void visit_modules(RuntimeLayout& layout, std::vector<FieldDescription>* descriptions) {
  visit(kModuledata, layout, layout.moduledata, descriptions);
  visit(kFunc, layout, layout.func, descriptions);
  visit(kInlinedCall, layout, layout.inlined_call, descriptions);
  visit(kTextsect, layout, layout.textsect, descriptions);
  visit(kType, layout, layout.type, descriptions);
  visit(kUncommonType, layout, layout.uncommon_type, descriptions);
  visit(kHmap, layout, layout.hmap, descriptions);
}

}  // namespace goheapd::gobin::layout_table

// Reads profile.proto back, by its own rules and not the encoder's: for comparing with golden text.
#pragma once

#include <string>

namespace goheapd::exporters::pprof {

std::string gunzip(const std::string& bytes);

// Every field of a profile.proto message as text, in a fixed layout with all references resolved; "error: ..." on
// references that point nowhere.
std::string decode_to_text(const std::string& message);

}  // namespace goheapd::exporters::pprof

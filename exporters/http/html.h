#pragma once

#include <string>
#include <string_view>

namespace goheapd::exporters::http {

// Text as HTML text or as a quoted attribute's value. Names of processes and functions are hostile.
std::string html_escape(std::string_view text);

// The head of a page of ours up to <body>: no scripts, no outside assets, light or dark as the reader prefers.
std::string html_head(std::string_view title);

}  // namespace goheapd::exporters::http

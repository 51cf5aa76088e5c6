#include "exporters/http/router.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "exporters/http/content_coding.h"

namespace goheapd::exporters::http {
namespace {

// "/a/b/" is {"a", "b", ""}: a trailing slash makes another path.
std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> segments;
  while (!path.empty()) {
    path.remove_prefix(1);
    const auto end = path.find('/');
    segments.emplace_back(path.substr(0, end));
    path = end == std::string_view::npos ? std::string_view{} : path.substr(end);
  }
  return segments;
}

std::optional<Fields> match(const std::vector<std::string>& pattern, const std::vector<std::string>& path) {
  if (pattern.size() != path.size()) return std::nullopt;
  Fields captures;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const std::string& segment = pattern[i];
    if (segment.starts_with('{') && !path[i].empty()) {
      captures.emplace_back(segment.substr(1, segment.size() - 2), path[i]);
    } else if (segment != path[i]) {
      return std::nullopt;
    }
  }
  return captures;
}

std::optional<Response> refuse_unknown(const Fields& query, const std::vector<std::string>& known) {
  for (const auto& [name, value] : query) {
    if (name.empty() || std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::string message = "there is no parameter " + name;
    for (const std::string& other : known)
      message += (&other == &known.front() ? "; there are: " : ", ") + other;
    if (known.empty()) message += "; this path takes none";
    return error_response(400, message);
  }
  return std::nullopt;
}

}  // namespace

void Router::get(std::string_view pattern, Handler handler) {
  rows_.push_back(Row{split(pattern), std::move(handler), false});
}

void Router::get(std::string_view pattern, Handler handler, std::vector<std::string> parameters) {
  rows_.push_back(Row{split(pattern), std::move(handler), false, std::move(parameters)});
}

void Router::get_or_post(std::string_view pattern, Handler handler) {
  rows_.push_back(Row{split(pattern), std::move(handler), true});
}

Handler Router::limited(AnswerBudget::Kind kind, Handler handler) {
  return [&budget = *budget_, kind, handler = std::move(handler)](const Request& request) {
    const auto turn = budget.enter(kind, request.stop);
    if (!turn) return busy("too many large answers are being made; try later");
    Response response = handler(request);
    budget.hold(request, response);
    return response;
  };
}

Response Router::route(Request request) const {
  const auto segments = split(request.path);
  for (const Row& row : rows_) {
    auto captures = match(row.segments, segments);
    if (!captures) continue;
    const bool allowed =
        request.method == "GET" || request.method == "HEAD" || (row.takes_post && request.method == "POST");
    if (!allowed) {
      const std::string methods = row.takes_post ? "GET, HEAD, POST" : "GET, HEAD";
      Response response = error_response(405, "this path takes " + methods + " only");
      response.headers.emplace_back("Allow", methods);
      return response;
    }
    if (row.parameters) {
      if (auto refused = refuse_unknown(request.query, *row.parameters)) return std::move(*refused);
    }
    request.captures = std::move(*captures);
    Response response = row.handler(request);
    apply_content_coding(request, response);
    return response;
  }
  return error_response(404, "there is nothing at " + request.path + "; GET / lists what there is");
}

}  // namespace goheapd::exporters::http

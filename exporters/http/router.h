// Which handler answers which path.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "exporters/http/answer_budget.h"
#include "exporters/http/message.h"

namespace goheapd::exporters::http {

using Handler = std::function<Response(const Request&)>;

// Filled once, before the server starts; after that only read, by many threads at once.
class Router {
 public:
  explicit Router(size_t max_held_bytes = kMaxHeldBytes)
      : budget_(std::make_unique<AnswerBudget>(max_held_bytes)) {}

  // `pattern` is a path whose segments are literal or "{name}", which matches any one non-empty segment.
  // A later row does not override an earlier one. Any query is taken: only for what scrapers and probes of load balancers
  // ask for, which may be configured to send parameters for others (Prometheus' `params`) and would take a 400 for an outage.
  void get(std::string_view pattern, Handler handler);
  // The same, with all parameters that a query may have: others are answered 400, since a misspelt one would be ignored
  // without a word.
  void get(std::string_view pattern, Handler handler, std::vector<std::string> parameters);
  // The same for POST as well. The handler does not see the body: nobody reads it.
  void get_or_post(std::string_view pattern, Handler handler);

  // `handler` for an answer that may be large: it gets its turn among others of its kind, or is answered 503.
  Handler limited(AnswerBudget::Kind kind, Handler handler);
  // Of all large answers. As long-lived as the router, wherever that is moved.
  AnswerBudget& budget() const { return *budget_; }

  // 404 for a path that no row has, 405 for a method that the path's row does not take. HEAD is answered by
  // the GET handler; the connection leaves the body out.
  Response route(Request request) const;

 private:
  struct Row {
    std::vector<std::string> segments;
    Handler handler;
    bool takes_post = false;
    std::optional<std::vector<std::string>> parameters = std::nullopt;  // nullopt: any
  };
  std::unique_ptr<AnswerBudget> budget_;
  std::vector<Row> rows_;
};

}  // namespace goheapd::exporters::http

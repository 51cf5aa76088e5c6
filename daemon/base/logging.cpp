#include "daemon/base/logging.h"

#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <utility>

#include "daemon/base/utf8.h"

namespace goheapd {
namespace {

constexpr const char* kLoggerName = "goheapd";

std::string_view level_name(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug:
      return "debug";
    case spdlog::level::info:
      return "info";
    case spdlog::level::warn:
      return "warn";
    default:
      return "error";
  }
}

// syslog(3)'s numbers, as sd-daemon(3) writes them.
std::string_view journal_prefix(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug:
      return "<7>";
    case spdlog::level::info:
      return "<6>";
    case spdlog::level::warn:
      return "<4>";
    default:
      return "<3>";
  }
}

// Quotes for logfmt and JSON alike; what a log message holds (paths, comms) may be hostile, or cut within a character.
void append_quoted(std::string_view text, spdlog::memory_buf_t& line) {
  line.push_back('"');
  for (const char c : well_formed_utf8(text)) {
    if (c == '"' || c == '\\') {
      line.push_back('\\');
      line.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      const int length = std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      line.append(escaped, escaped + length);
    } else {
      line.push_back(c);
    }
  }
  line.push_back('"');
}

void append(std::string_view text, spdlog::memory_buf_t& line) {
  line.append(text.data(), text.data() + text.size());
}

class LineFormatter final : public spdlog::formatter {
 public:
  LineFormatter(LogFormat format, bool for_journal, RewriteMessage rewrite)
      : format_(format), for_journal_(for_journal), rewrite_(std::move(rewrite)) {}

  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& line) override {
    const bool json = format_ == LogFormat::json;
    if (for_journal_) append(journal_prefix(message.level), line);
    if (json) line.push_back('{');
    if (!for_journal_) {
      append(json ? "\"ts\":\"" : "ts=", line);
      append_time(message.time, line);
      append(json ? "\"," : " ", line);
    }
    append(json ? "\"level\":\"" : "level=", line);
    append(level_name(message.level), line);
    append(json ? "\",\"msg\":" : " msg=", line);
    const std::string_view text{message.payload.data(), message.payload.size()};
    if (rewrite_) {
      append_quoted(rewrite_(std::string(text)), line);
    } else {
      append_quoted(text, line);
    }
    if (json) line.push_back('}');
    line.push_back('\n');
  }

  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<LineFormatter>(format_, for_journal_, rewrite_);
  }

 private:
  static void append_time(spdlog::log_clock::time_point time, spdlog::memory_buf_t& line) {
    const auto since_epoch = time.time_since_epoch();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since_epoch);
    const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch - seconds);
    const auto clock = static_cast<time_t>(seconds.count());
    std::tm utc{};
    gmtime_r(&clock, &utc);
    char text[64];
    const size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    line.append(text, text + length);
    const int tail = std::snprintf(text, sizeof text, ".%03dZ", static_cast<int>(millis.count()));
    line.append(text, text + tail);
  }

  LogFormat format_;
  bool for_journal_;
  RewriteMessage rewrite_;
};

}  // namespace

bool logs_to_journal() {
  const char* const variable = std::getenv("JOURNAL_STREAM");  // nobody sets it while there are threads
  struct stat status {};
  if (variable == nullptr || ::fstat(STDERR_FILENO, &status) != 0) return false;
  return variable == std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
}

void set_up_logging(std::string_view level, LogFormat format, RewriteMessage rewrite) {
  // A reload comes here again while other threads log: they may hold the logger, so it is changed, not replaced.
  auto logger = spdlog::default_logger();
  const bool is_ours = logger->name() == kLoggerName;
  if (!is_ours) {
    logger = std::make_shared<spdlog::logger>(kLoggerName, std::make_shared<spdlog::sinks::stderr_sink_mt>());
  }
  logger->set_formatter(std::make_unique<LineFormatter>(format, logs_to_journal(), std::move(rewrite)));
  logger->flush_on(spdlog::level::debug);
  if (level == "debug") {
    logger->set_level(spdlog::level::debug);
  } else if (level == "warn") {
    logger->set_level(spdlog::level::warn);
  } else if (level == "error") {
    logger->set_level(spdlog::level::err);
  } else {
    logger->set_level(spdlog::level::info);
  }
  if (!is_ours) spdlog::set_default_logger(std::move(logger));
}

}  // namespace goheapd

#include "common/telemetry/logging.h"

#include <unistd.h>

#include <memory>
#include <mutex>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/telemetry/line_writer.h"
#include "spdlog/sinks/base_sink.h"
#include "spdlog/spdlog.h"

namespace baton::telemetry {
namespace {

constexpr std::string_view kLevelNames[] = {"debug", "info", "warning", "error"};
constexpr char kLevelLetters[] = "DIWE";
constexpr spdlog::level::level_enum kSpdLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                    spdlog::level::warn, spdlog::level::err};

std::string LostLine(uint64_t lost);

// Hands lines to a LineWriter; base_sink's lock makes it one at a time.
class StderrSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  StderrSink() : writer_(STDERR_FILENO, LostLine) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    writer_.Write({message.payload.data(), message.payload.size()});
  }
  void flush_() override {}

 private:
  LineWriter writer_;
};

// Written once by InitLogging, before other threads log.
struct State {
  std::string process = "baton";
  Format format = Format::kText;
  std::shared_ptr<spdlog::logger> logger;
};

State& TheState() {
  static State* state = [] {
    auto* s = new State;  // never destroyed: threads may log until the very end
    s->logger = std::make_shared<spdlog::logger>("baton", std::make_shared<StderrSink>());
    s->logger->set_level(spdlog::level::warn);
    return s;
  }();
  return *state;
}

// JSON strings: control characters, quotes and what is not UTF-8 must not break the line.
void AppendJsonString(std::string& out, std::string_view text) {
  out += '"';
  for (size_t i = 0; i < text.size(); ++i) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", c);
    } else {
      out += static_cast<char>(c);
    }
  }
  out += '"';
}

// A text line stays one line, and cannot steer the terminal.
void AppendText(std::string& out, std::string_view text) {
  for (const char c : text) {
    const unsigned char u = static_cast<unsigned char>(c);
    if (u < 0x20 || u == 0x7f) {
      out += fmt::format("\\x{:02x}", u);
    } else {
      out += c;
    }
  }
}

// "00-<32 hex>-<16 hex>-<2 hex>": the 32, or nothing.
std::string_view TraceIdOf(std::string_view traceparent) {
  if (traceparent.size() < 55 || traceparent[2] != '-' || traceparent[35] != '-') return "";
  const std::string_view id = traceparent.substr(3, 32);
  return id.find_first_not_of("0123456789abcdef") == std::string_view::npos ? id : "";
}

std::string TextLine(std::string_view process, Level level, std::string_view room,
                     std::string_view message, std::initializer_list<Field> fields,
                     std::string_view trace, absl::Time time) {
  std::string line = absl::FormatTime("%H:%M:%E3S", time, absl::LocalTimeZone());
  line += fmt::format(" {} {} {}: ", kLevelLetters[static_cast<int>(level)], process, room);
  AppendText(line, message);
  for (const Field& field : fields) {
    line += fmt::format(" {}=", field.name);
    AppendText(line, field.value);
  }
  if (!trace.empty()) line += fmt::format(" trace_id={}", trace);
  return line;
}

std::string JsonLine(std::string_view process, Level level, std::string_view room,
                     std::string_view message, std::initializer_list<Field> fields,
                     std::string_view trace, absl::Time time) {
  std::string line =
      "{\"ts\":\"" + absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", time, absl::UTCTimeZone()) +
      "\",\"level\":\"" + std::string(kLevelNames[static_cast<int>(level)]) + "\",\"process\":";
  AppendJsonString(line, process);
  line += ",\"room\":";
  AppendJsonString(line, room);
  line += ",\"msg\":";
  AppendJsonString(line, message);
  for (const Field& field : fields) {
    line += ',';
    AppendJsonString(line, field.name);
    line += ':';
    const bool number = !field.quoted && field.value.find_first_of("ni") == std::string::npos;
    const bool boolean = !field.quoted && (field.value == "true" || field.value == "false");
    if (number || boolean) {
      line += field.value;
    } else {
      AppendJsonString(line, field.value);  // text, and nan or inf, which JSON does not have
    }
  }
  if (!trace.empty()) line += fmt::format(",\"trace_id\":\"{}\"", trace);
  line += '}';
  return line;
}

std::string LostLine(uint64_t lost) {
  const State& state = TheState();
  return FormatLine(state.format, state.process, Level::kWarning, "telemetry",
                    "log lines were lost: their reader did not read, or its disk was full",
                    {{"lines", lost}}, "", absl::ToUnixMicros(absl::Now()));
}

}  // namespace

void InitLogging(std::string_view process, Level level, Format format) {
  State& state = TheState();
  state.process = std::string(process);
  state.format = format;
  state.logger->set_level(kSpdLevels[static_cast<int>(level)]);
}

std::string FormatLine(Format format, std::string_view process, Level level, std::string_view room,
                       std::string_view message, std::initializer_list<Field> fields,
                       std::string_view traceparent, int64_t unix_micros) {
  const absl::Time time = absl::FromUnixMicros(unix_micros);
  const std::string_view trace = TraceIdOf(traceparent);
  return format == Format::kJson ? JsonLine(process, level, room, message, fields, trace, time)
                                 : TextLine(process, level, room, message, fields, trace, time);
}

void Log(Level level, std::string_view room, std::string_view message,
         std::initializer_list<Field> fields, std::string_view traceparent) {
  State& state = TheState();
  const spdlog::level::level_enum spd = kSpdLevels[static_cast<int>(level)];
  if (!state.logger->should_log(spd)) return;
  const std::string line = FormatLine(state.format, state.process, level, room, message, fields,
                                      traceparent, absl::ToUnixMicros(absl::Now()));
  state.logger->log(spd, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace baton::telemetry

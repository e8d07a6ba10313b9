#include "services/cli/up/log_line.h"

#include <cctype>

#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace baton::cli {
namespace {

using nlohmann::json;

std::string TextOf(const json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string StringAt(const json& object, const char* key) {
  auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

// The fields beyond those every line has.
std::string FieldsOf(const json& object) {
  std::string text;
  for (const auto& [key, value] : object.items()) {
    if (key == "ts" || key == "level" || key == "process" || key == "room" || key == "msg")
      continue;
    text += fmt::format(" {}={}", key, TextOf(value));
  }
  return text;
}

}  // namespace

LogLine ReadLogLine(std::string_view line) {
  const json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  LogLine read;
  if (!object.is_object() || !object.contains("msg")) {
    read.text = read.message = std::string(line);
    read.error = true;
    return read;
  }
  const std::string level = StringAt(object, "level");
  const std::string ts = StringAt(object, "ts");
  read.error = level == "error";
  read.message = StringAt(object, "msg") + FieldsOf(object);
  const std::string time = ts.size() >= 23 ? ts.substr(11, 12) : ts;
  const char letter = level.empty() ? '?' : static_cast<char>(std::toupper(level[0]));
  read.text = fmt::format("{} {} {}: {}", time, letter, StringAt(object, "room"), read.message);
  auto percent = object.find("percent");
  if (percent != object.end() && percent->is_number_integer()) read.percent = percent->get<int>();
  return read;
}

}  // namespace baton::cli

#include "common/telemetry/logging.h"

#include <cmath>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace baton::telemetry {
namespace {

constexpr const char* kTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

std::string Json(std::string_view message, std::initializer_list<Field> fields,
                 std::string_view trace = "") {
  return FormatLine(Format::kJson, "decode-0", Level::kWarning, "membership", message, fields,
                    trace, 1700000000123456);
}

TEST(LoggingTest, JsonLinesCarryEverything) {
  const auto line = nlohmann::json::parse(Json(
      "lost router", {{"router", "a:1"}, {"attempt", 3}, {"last", true}, {"rate", 0.5}}, kTrace));
  EXPECT_EQ(line["ts"], "2023-11-14T22:13:20.123456Z");
  EXPECT_EQ(line["level"], "warning");
  EXPECT_EQ(line["process"], "decode-0");
  EXPECT_EQ(line["room"], "membership");
  EXPECT_EQ(line["msg"], "lost router");
  EXPECT_EQ(line["router"], "a:1");
  EXPECT_EQ(line["attempt"], 3);
  EXPECT_EQ(line["last"], true);
  EXPECT_EQ(line["rate"], 0.5);
  EXPECT_EQ(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
}

TEST(LoggingTest, HostileTextStaysOneJsonLine) {
  const std::string text = "quote\" back\\slash\nnewline\ttab\x01 \x7f";
  const std::string line = Json(text, {{"x", text}, {"nan", std::nan("")}});
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(line)["x"], text);
  EXPECT_EQ(nlohmann::json::parse(line)["nan"], "nan");
}

TEST(LoggingTest, TextLinesCannotBeForgedOrSteerTheTerminal) {
  const std::string line = FormatLine(Format::kText, "router", Level::kInfo, "http", "a\nb",
                                      {{"who", "\x1b[2J"}}, "", 0);
  EXPECT_NE(line.find(" I router http: a\\x0ab who=\\x1b[2J"), std::string::npos) << line;
}

TEST(LoggingTest, AMalformedTraceParentIsLeftOut) {
  EXPECT_EQ(Json("m", {}, "00-XYZ").find("trace_id"), std::string::npos);
  EXPECT_EQ(Json("m", {}, std::string(55, '-')).find("trace_id"), std::string::npos);
}

}  // namespace
}  // namespace baton::telemetry

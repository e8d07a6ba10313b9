#include "services/router/openai/json_body.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace baton::router::openai {
namespace {

// What a body is, or why it is none: by the library that everybody knows.
std::string Reference(const std::string& body) {
  const Json json = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  return json.is_discarded() || !json.is_object() ? "refused" : json.dump();
}
std::string Ours(const std::string& body) {
  const auto json = ParseBody(body, 64);
  return json.ok() ? json->dump() : "refused";
}

TEST(JsonBodyTest, EveryValueIsReadAsTheReferenceReadsIt) {
  for (const char* value : {"0",
                            "-0",
                            "1",
                            "-7",
                            "9223372036854775807",
                            "9223372036854775808",
                            "18446744073709551615",
                            "18446744073709551616",
                            "-9223372036854775808",
                            "-9223372036854775809",
                            "1e999",
                            "0.1",
                            "1e-7",
                            "123456789012345678901234567890",
                            "01",
                            "1.",
                            "+1",
                            "nan",
                            "true",
                            "null",
                            "[]",
                            "{}",
                            "[1,[2,{\"a\":3}]]",
                            "\"\"",
                            "\"\\u00e9\\n\\\"\"",
                            "\"\\ud83d\\ude80\"",
                            "\"\\ud83d\"",
                            "\"\\ude80\"",
                            "\"\\x\"",
                            "\"\t\"",
                            "\"\x7f\"",
                            "\"Gr\xc3\xb6\xc3\x9f\"",
                            "{\"a\":1,\"a\":2}",
                            "\"\\u0000\"",
                            "[1,]",
                            "\"a",
                            "tru"}) {
    const std::string body = std::string("{\"x\": ") + value + ", \"y\": 1}";
    EXPECT_EQ(Ours(body), Reference(body)) << body;
  }
  for (const char* body :
       {"{} {}", "[1]", "1", "\xef\xbb\xbf{}", "{}\n\t ", "{}x", "{\"a\":1,\"b\":2,\"a\":3}"}) {
    EXPECT_EQ(Ours(body), Reference(body)) << body;
  }
}

TEST(JsonBodyTest, ABodyWithAnyByteChangedIsReadOrRefusedAsByTheReference) {
  const std::string whole =
      R"({"model":"m","messages":[{"role":"user","content":"a \"quoted\" wörd \u00e9"}],"temperature":0.7,"n":2,"stop":[]})";
  std::mt19937 random(3);
  for (int round = 0; round < 5000; ++round) {
    std::string body = whole;
    body[random() % body.size()] = static_cast<char>(random());
    EXPECT_EQ(Ours(body), Reference(body)) << body;
  }
}

TEST(JsonBodyTest, NumbersKeepTheirKind) {
  const Json json = *ParseBody(R"({"a":1,"b":-1,"c":1.0,"d":18446744073709551615})", 64);
  EXPECT_TRUE(json["a"].is_number_unsigned());
  EXPECT_TRUE(json["b"].is_number_integer() && !json["b"].is_number_unsigned());
  EXPECT_TRUE(json["c"].is_number_float());
  EXPECT_EQ(json["d"].get<uint64_t>(), UINT64_MAX);
}

TEST(JsonBodyTest, AMistakeInALongStringIsNamedWithoutTheString) {
  const auto refused = ParseBody("{\"a\": \"" + std::string(100'000, 'x'), 64);
  EXPECT_THAT(std::string(refused.status().message()), testing::HasSubstr("missing closing quote"));
  EXPECT_LT(refused.status().message().size(), 400u);
}

}  // namespace
}  // namespace baton::router::openai

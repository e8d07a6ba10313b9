#include "services/router/openai/response_shape.h"

#include <gtest/gtest.h>

namespace baton::router::openai {
namespace {

const ServedModel& ModelNamed(std::string name) {
  static std::vector<std::unique_ptr<ServedModel>> kept;
  kept.push_back(
      std::make_unique<ServedModel>(std::move(name), nullptr, nullptr, absl::OkStatus()));
  return *kept.back();
}

Json PieceOf(Endpoint endpoint, std::string_view text) {
  Json choice{{"index", 3}};
  if (endpoint == Endpoint::kChat) {
    choice["delta"] = Json{{"content", text}};
  } else {
    choice["text"] = text;
  }
  choice["logprobs"] = nullptr;
  choice["finish_reason"] = nullptr;
  return choice;
}

// Written by the library, key by key.
std::string Expected(const ResponseShape::Options& options, const std::string& model,
                     std::string_view text) {
  const bool chat = options.endpoint == Endpoint::kChat;
  Json json{{"id", (chat ? "chatcmpl-" : "cmpl-") + options.id},
            {"object", chat ? "chat.completion.chunk" : "text_completion"},
            {"created", options.created},
            {"model", model},
            {"choices", Json::array({PieceOf(options.endpoint, text)})}};
  if (options.include_usage) json["usage"] = nullptr;
  return json.dump();
}

TEST(ResponseShapeTest, AChunkIsToTheByteWhatTheJsonLibraryWrites) {
  for (const char* model : {"baton-demo", "odd \"choices\":[ name\\", ""}) {
    for (const Endpoint endpoint : {Endpoint::kChat, Endpoint::kCompletion}) {
      for (const bool usage : {false, true}) {
        const ResponseShape::Options options{
            .endpoint = endpoint, .id = "r\"1", .created = 1'700'000'000, .include_usage = usage};
        const ResponseShape shape(options, ModelNamed(model));
        for (const std::string text :
             {"", " baton", "say \"hi\"", "a\\b", "line\nend\t", "\x01\x7f",
              "Gr\xc3\xb6\xc3\x9f"
              "e",
              "\xf0\x9f\x9a\x80"}) {
          EXPECT_EQ(shape.PieceChunk(3, {.text = text}), Expected(options, model, text));
        }
      }
    }
  }
}

TEST(ResponseShapeTest, AnyByteOfAsciiIsWrittenSoThatItIsReadAgain) {
  const ResponseShape shape({.id = "1"}, ModelNamed("m"));
  for (int c = 0; c < 128; ++c) {
    const std::string text(2, static_cast<char>(c));
    const Json read = Json::parse(shape.PieceChunk(0, {.text = text}));
    EXPECT_EQ(read["choices"][0]["delta"]["content"], text) << c;
  }
}

TEST(ResponseShapeTest, TokenIdsComeWithTheTextWhenTheyAreAskedFor) {
  const ResponseShape shape({.id = "1", .return_token_ids = true}, ModelNamed("m"));
  Piece piece{.text = "x"};
  piece.tokens.emplace_back().token = 7;
  const Json choice = Json::parse(shape.PieceChunk(0, piece))["choices"][0];
  EXPECT_EQ(choice["token_ids"], Json::array({7}));
  EXPECT_EQ(choice["delta"]["content"], "x");
}

}  // namespace
}  // namespace baton::router::openai

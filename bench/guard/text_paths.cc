#include <memory>

#include "bench/guard/path.h"
#include "common/base/check.h"
#include "common/text/incremental_detokenizer.h"
#include "services/router/intake/served_model.h"
#include "services/router/openai/response_shape.h"

namespace baton::bench {
namespace {

using router::ServedModel;

std::shared_ptr<const ServedModel> Load(const std::string& model_dir) {
  auto model = ServedModel::Load("model", model_dir);
  CHECK_OK(model.status());
  return *std::move(model);
}

// What is encoded lately is remembered: a chat that nobody had before begins with a number of its
// own.
std::function<void()> Encoding(const std::string& model_dir, bool again) {
  std::string words;
  for (int i = 0; i < 100; ++i) words += "The router chooses a worker.\n";
  return [model = Load(model_dir), words, again, number = 0]() mutable {
    const std::string content = std::to_string(again ? 0 : ++number) + words;
    const text::ChatTemplate::Json messages = {{{"role", "user"}, {"content", content}}};
    const auto text = (*model->chat_template())->Render({.messages = messages});
    CHECK_OK(text.status());
    CHECK_OK(model->tokenizer().Encode(*text, false).status());
  };
}

// As the router does for each token of each stream: its text, then the chunk that the client gets.
std::function<void()> Streaming(const std::string& model_dir) {
  const auto model = Load(model_dir);
  const auto shape = std::make_shared<router::openai::ResponseShape>(
      router::openai::ResponseShape::Options{.id = "chatcmpl-1", .created = 1'700'000'000}, *model);
  const auto tokens =
      model->tokenizer().Encode("The key-value cache is handed over like a baton.", false);
  CHECK_OK(tokens.status());
  return [model, shape, tokens = *tokens] {
    text::IncrementalDetokenizer detokenizer(model->tokenizer(), {});
    for (const int32_t token : tokens) {
      router::Piece piece{.text = detokenizer.Push(token)};
      piece.tokens.emplace_back().token = token;
      CHECK(!shape->PieceChunk(0, piece).empty(), "a chunk without text");
    }
  };
}

}  // namespace

std::vector<GuardedPath> TextPaths(const std::string& model_dir) {
  return {
      {"a chat of 2,900 characters becomes tokens", 5, [=] { return Encoding(model_dir, false); }},
      {"the same chat becomes tokens again", 5, [=] { return Encoding(model_dir, true); }},
      {"tokens become the chunks of a stream", 20, [=] { return Streaming(model_dir); }},
  };
}

}  // namespace baton::bench

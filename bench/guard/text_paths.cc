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

std::function<void()> Encoding(const std::string& model_dir) {
  std::string words;
  for (int i = 0; i < 100; ++i) words += "The router chooses a worker. ";
  const text::ChatTemplate::Json messages = {{{"role", "user"}, {"content", words}}};
  return [model = Load(model_dir), messages] {
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
      {"a chat of 2,900 characters becomes tokens", 5, [=] { return Encoding(model_dir); }},
      {"tokens become the chunks of a stream", 20, [=] { return Streaming(model_dir); }},
  };
}

}  // namespace baton::bench

#include "services/router/dispatch/choice_text.h"

#include <algorithm>
#include <string_view>

namespace baton::router {
namespace {

// Of well-formed UTF-8: the bytes that begin a character.
int64_t CharactersOf(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

}  // namespace

ChoiceText::ChoiceText(const text::Tokenizer& tokenizer, const SamplingParams& sampling,
                       std::span<const int32_t> context)
    : detokenizer_(tokenizer, {.context = context}),
      stops_({.stops = sampling.stop_strings,
              .include_stop_in_output = sampling.include_stop_in_output}),
      stop_strings_(sampling.stop_strings) {}

ShownToken ChoiceText::Place(GeneratedToken token) const {
  return {std::move(token), /*text_offset=*/text_chars_};
}

std::string ChoiceText::Detokenize(int32_t token) {
  std::string piece = detokenizer_.Push(token);
  text_bytes_ += piece.size();
  text_chars_ += CharactersOf(piece);
  return piece;
}

ChoiceText::Output ChoiceText::PushPrompt(GeneratedToken token) {
  Output output;
  output.tokens.push_back(Place(std::move(token)));
  output.text = Detokenize(output.tokens.front().token);
  emitted_bytes_ += output.text.size();
  return output;
}

ChoiceText::Output ChoiceText::Push(GeneratedToken token) {
  ++num_tokens_;
  ShownToken placed = Place(std::move(token));
  const std::string piece = Detokenize(placed.token);
  held_.push_back({std::move(placed), text_bytes_});
  Output output;
  if (!piece.empty()) {
    text::StopMatcher::Result result = stops_.Push(piece);
    output.text = std::move(result.emit);
    output.stopped = result.stopped;
    if (result.stopped) output.stop = stop_strings_[result.stop_index];
  }
  emitted_bytes_ += output.text.size();
  Release(output, /*everything=*/false);
  return output;
}

ChoiceText::Output ChoiceText::Finish(std::vector<GeneratedToken> hidden) {
  Output output;
  const std::string rest = detokenizer_.Finish();
  text_chars_ += CharactersOf(rest);
  if (!rest.empty()) {
    text::StopMatcher::Result result = stops_.Push(rest);
    output.text = std::move(result.emit);
    output.stopped = result.stopped;
    if (result.stopped) output.stop = stop_strings_[result.stop_index];
  }
  if (!output.stopped) output.text += stops_.Finish();
  Release(output, /*everything=*/!output.stopped);
  num_tokens_ += static_cast<int32_t>(hidden.size());
  for (GeneratedToken& token : hidden) output.tokens.push_back(Place(std::move(token)));
  return output;
}

void ChoiceText::Release(Output& output, bool everything) {
  while (!held_.empty() && (everything || held_.front().text_end <= emitted_bytes_)) {
    output.tokens.push_back(std::move(held_.front().token));
    held_.pop_front();
  }
}

}  // namespace baton::router

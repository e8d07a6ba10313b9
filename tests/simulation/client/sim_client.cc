#include "tests/simulation/client/sim_client.h"

#include <algorithm>
#include <utility>

#include "services/router/dispatch/continuation.h"

namespace baton::simulation {

SimClient::SimClient(EventQueue& queue, router::AcceptedRequest request,
                     const model::ModelInfo& model)
    : queue_(queue), request_(std::move(request)), choices_(request_.n) {
  for (int32_t i = 0; i < request_.n; ++i) Expect(i, model);
}

void SimClient::Expect(int32_t choice, const model::ModelInfo& model) {
  Choice& it = choices_[choice];
  SequenceSpec alone = router::ContinuationOf(request_, choice, {}, queue_.Monotonic());
  if (choice > 0) alone.sampling.prompt_logprobs.reset();
  it.expected = engine::testing::GenerateByChain(alone, model, model.context_tokens_max);
  std::vector<int32_t> shown;
  for (const GeneratedToken& token : it.expected.tokens) shown.push_back(token.token);
  if (it.expected.finish == FinishReason::kStop) shown.pop_back();
  it.expected_text = request_.model->tokenizer().Decode(shown, true);
  // The stop string that is complete first ends the text where it begins; of several the longest.
  size_t first_end = std::string::npos;
  for (const std::string& stop : request_.sampling.stop_strings) {
    const size_t at = it.expected_text.find(stop);
    if (at == std::string::npos) continue;
    const size_t end = at + stop.size();
    if (end > first_end || (end == first_end && stop.size() <= it.stop.size())) continue;
    first_end = end;
    it.stop = stop;
  }
  if (!it.stop.empty()) it.expected_text.resize(first_end - it.stop.size());
}

void SimClient::Wrong(std::string what) {
  if (wrong_.empty()) wrong_ = fmt::format("{}: {}", request_.id.value(), std::move(what));
}

void SimClient::Refused(const absl::Status& why) {
  state_ = State::kFailed;
  error_ = why;
}

bool SimClient::OnEvents(std::vector<router::Event> events) {
  if (state_ == State::kLost) return false;  // nobody is there
  if (over()) Wrong("told of something after its end");
  for (const router::Event& event : events) Take(event);
  if (over() || messages_left_ < 0) return true;
  if (messages_left_-- > 0) return true;
  state_ = State::kCancelled;
  return false;
}

void SimClient::Take(const router::Event& event) {
  queue_.Note(event.index());
  if (over()) return Wrong("told of something after its end");
  if (const auto* piece = std::get_if<router::Piece>(&event)) TakePiece(*piece);
  if (const auto* end = std::get_if<router::ChoiceEnd>(&event)) TakeEnd(*end);
  if (const auto* completed = std::get_if<router::Completed>(&event)) TakeCompleted(*completed);
  if (const auto* failed = std::get_if<router::Failed>(&event)) {
    state_ = State::kFailed;
    error_ = failed->status;
    if (error_.ok() || error_.message().empty()) Wrong("failed without a reason");
  }
}

void SimClient::TakePiece(const router::Piece& piece) {
  if (piece.choice < 0 || piece.choice >= request_.n) return Wrong("told of a choice too many");
  Choice& choice = choices_[piece.choice];
  if (choice.ended) return Wrong("told of a choice after its end");
  for (const router::ShownToken& token : piece.prompt) {
    const auto& expected = choices_[0].expected.prompt;
    if (choice.prompt_told >= expected.size()) return Wrong("too much of the prompt");
    const GeneratedToken& want = expected[choice.prompt_told++];
    if (token.token != want.token || token.logprob != want.logprob) {
      return Wrong(fmt::format("prompt token {} is scored otherwise", choice.prompt_told - 1));
    }
  }
  for (const router::ShownToken& token : piece.tokens) {
    queue_.Note(static_cast<uint64_t>(token.token));
    const size_t at = choice.tokens.size();
    const auto& expected = choice.expected.tokens;
    if (at >= expected.size())
      return Wrong(fmt::format("choice {}: too many tokens", piece.choice));
    if (token.token != expected[at].token || token.logprob != expected[at].logprob) {
      return Wrong(fmt::format("choice {}: token {} is {}, not {}", piece.choice, at, token.token,
                               expected[at].token));
    }
    choice.tokens.push_back(token.token);
  }
  choice.text += piece.text;
  if (!choice.expected_text.starts_with(choice.text)) {
    Wrong(fmt::format("choice {}: the text is \"{}\", not \"{}\"", piece.choice, choice.text,
                      choice.expected_text));
  }
}

void SimClient::TakeEnd(const router::ChoiceEnd& end) {
  Choice& choice = choices_[end.choice];
  if (std::exchange(choice.ended, true)) return Wrong("a choice ended twice");
  if (choice.text != choice.expected_text) {
    return Wrong(fmt::format("choice {} ended ({}) with \"{}\" of \"{}\", stop \"{}\"", end.choice,
                             NameOf(end.reason), choice.text, choice.expected_text, choice.stop));
  }
  if (end.stop != choice.stop) return Wrong("a choice ended by another stop string");
  const FinishReason expected = choice.stop.empty() ? choice.expected.finish : FinishReason::kStop;
  if (end.reason != expected) return Wrong("a choice ended for another reason");
  if (choice.stop.empty() && choice.tokens.size() != choice.expected.tokens.size()) {
    Wrong(fmt::format("choice {} ended after {} of {} tokens", end.choice, choice.tokens.size(),
                      choice.expected.tokens.size()));
  }
}

void SimClient::TakeCompleted(const router::Completed& completed) {
  state_ = State::kCompleted;
  for (const Choice& choice : choices_) {
    if (!choice.ended) return Wrong("completed with a choice open");
  }
  if (completed.prompt_tokens != static_cast<int32_t>(request_.prompt.size())) {
    Wrong("completed with a wrong count of prompt tokens");
  }
}

}  // namespace baton::simulation

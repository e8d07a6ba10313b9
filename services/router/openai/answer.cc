#include "services/router/openai/answer.h"

#include <utility>

namespace baton::router::openai {

class Answer::PromptSink : public EventSink {
 public:
  PromptSink(std::shared_ptr<Answer> answer, int32_t prompt_index)
      : answer_(std::move(answer)), prompt_index_(prompt_index) {}
  bool OnEvents(std::vector<Event> events) override {
    return answer_->Take(prompt_index_, std::move(events));
  }

 private:
  const std::shared_ptr<Answer> answer_;
  const int32_t prompt_index_;
};

Answer::Answer(const Options& options, ResponseShape shape, std::shared_ptr<Outlet> outlet)
    : options_(options),
      shape_(std::move(shape)),
      outlet_(std::move(outlet)),
      progress_(static_cast<size_t>(options.prompts * options.n)),
      choices_(static_cast<size_t>(options.stream ? 0 : options.prompts * options.n)),
      open_prompts_(options.prompts) {}

std::shared_ptr<EventSink> Answer::SinkFor(int32_t prompt_index) {
  return std::make_shared<PromptSink>(shared_from_this(), prompt_index);
}

void Answer::Fail(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  if (!over_) FailLocked(status);
}

bool Answer::Take(int32_t prompt_index, std::vector<Event> events) {
  absl::MutexLock lock(&mutex_);
  for (Event& event : events) {
    if (over_) return false;  // another prompt of the call has failed, or the client is gone
    if (!TakeOne(prompt_index, event)) over_ = true;
  }
  return !over_;
}

bool Answer::TakeOne(int32_t prompt_index, Event& event) {
  const int32_t first = prompt_index * options_.n;
  if (auto* piece = std::get_if<Piece>(&event)) {
    const int32_t index = first + piece->choice;
    if (options_.stream) return Stream(index, *piece);
    WholeChoice& choice = choices_[index];
    choice.text += piece->text;
    std::move(piece->prompt.begin(), piece->prompt.end(), std::back_inserter(choice.prompt));
    std::move(piece->tokens.begin(), piece->tokens.end(), std::back_inserter(choice.tokens));
    choice.hidden_tokens += piece->hidden_tokens;
  } else if (auto* end = std::get_if<ChoiceEnd>(&event)) {
    const int32_t index = first + end->choice;
    if (options_.stream) {
      return StreamRole(index) && outlet_->Send(shape_.EndChunk(index, *end));
    }
    choices_[index].reason = end->reason;
    choices_[index].stop = std::move(end->stop);
  } else if (auto* completed = std::get_if<Completed>(&event)) {
    return Complete(*completed);
  } else if (auto* failed = std::get_if<Failed>(&event)) {
    FailLocked(failed->status);
  }
  return true;
}

bool Answer::StreamRole(int32_t index) {
  if (!shape_.chat() || std::exchange(progress_[index].role_sent, true)) return true;
  return outlet_->Send(shape_.RoleChunk(index));
}

bool Answer::Stream(int32_t index, const Piece& piece) {
  return StreamRole(index) && outlet_->Send(shape_.PieceChunk(index, piece));
}

bool Answer::Complete(const Completed& completed) {
  usage_.prompt_tokens += completed.prompt_tokens;
  usage_.cached_tokens += completed.cached_tokens;
  usage_.completion_tokens += completed.completion_tokens;
  if (--open_prompts_ > 0) return true;
  if (options_.stream) {
    if (options_.include_usage && !outlet_->Send(shape_.UsageChunk(usage_))) return false;
  } else if (!outlet_->Send(shape_.Whole(choices_, usage_))) {
    return false;
  }
  outlet_->End();
  over_ = true;
  return true;
}

void Answer::FailLocked(const absl::Status& status) {
  over_ = true;
  outlet_->Fail(status);
}

}  // namespace baton::router::openai

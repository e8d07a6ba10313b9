// What a decode worker says of a flight: tokens, scores of the prompt, ends of choices.
#include <iterator>
#include <utility>

#include "common/rpc/convert.h"
#include "services/router/dispatch/flight.h"

namespace baton::router {

absl::Status Flight::OnDeltas(const WorkerId& worker,
                              const std::vector<const v1::SequenceDelta*>& deltas) {
  absl::MutexLock lock(&mutex_);
  if (sink_ == nullptr || worker != worker_) return absl::OkStatus();
  std::vector<Event> events;
  for (const v1::SequenceDelta* delta : deltas) {
    if (absl::Status status = Apply(*delta, events); !status.ok()) {
      if (!events.empty()) Tell(std::move(events));
      return sink_ == nullptr ? absl::OkStatus() : FailOrRetry(status);
    }
  }
  NoteArrival();
  if (open_choices_ == 0) {
    Complete(std::move(events));
  } else if (!events.empty()) {
    Tell(std::move(events));
  }
  return absl::OkStatus();
}

absl::Status Flight::Apply(const v1::SequenceDelta& delta, std::vector<Event>& events) {
  if (delta.request_id() != attempt_id_.value()) return absl::OkStatus();  // of an earlier attempt
  if (delta.choice() < 0 || delta.choice() >= request_.n) {
    return Internal("the decode worker spoke of choice {} of {}", delta.choice(), request_.n);
  }
  Choice& choice = choices_[delta.choice()];
  if (choice.ended) return absl::OkStatus();  // on its way when we cancelled it
  const FinishReason finish = rpc::FromProto(delta.finish());
  if (finish == FinishReason::kError) {
    return absl::Status(static_cast<absl::StatusCode>(delta.status_code()), delta.status_message());
  }
  if (finish == FinishReason::kCancelled) {
    return Unavailable("the decode worker cancelled the sequence; try again");
  }
  RETURN_IF_ERROR(TakePrompt(delta, events));
  // The first choice's: the others find its prompt in the cache, which is no merit of the cache.
  // Nor is what an earlier worker's output has left there.
  if (delta.has_times() && delta.choice() == 0) {
    NoteTimes(delta.times());
    if (choice.tokens.empty()) cached_tokens_ = delta.times().cached_tokens();
  }
  NoteTokenTime(choice, delta.tokens_size());
  // The token that ended it stands for no text.
  const bool hidden = finish == FinishReason::kStop && delta.tokens_size() > 0;
  NoteTokenText(choice, delta, delta.tokens_size() - (hidden ? 1 : 0), events);
  if (choice.ended || finish == FinishReason::kNone) return absl::OkStatus();

  std::vector<GeneratedToken> last;
  if (hidden) last.push_back(rpc::FromProto(delta.tokens(delta.tokens_size() - 1)));
  ChoiceText::Output output = choice.text->Finish(std::move(last));
  if (!output.text.empty() || !output.tokens.empty()) {
    events.push_back(Piece{.choice = delta.choice(),
                           .text = std::move(output.text),
                           .tokens = std::move(output.tokens),
                           .hidden_tokens = hidden ? 1 : 0});
  }
  EndChoice(choice, delta.choice(), output.stopped ? FinishReason::kStop : finish,
            std::move(output.stop), events);
  return absl::OkStatus();
}

// The first choice alone has the prompt scored, for all of them: it is the same for all.
absl::Status Flight::TakePrompt(const v1::SequenceDelta& delta, std::vector<Event>& events) {
  if (!request_.sampling.prompt_logprobs) return absl::OkStatus();
  std::vector<Piece> pieces(request_.n);
  for (const v1::GeneratedToken& token : delta.prompt()) {
    if (delta.choice() != 0 || prompt_scored_ == request_.prompt.size() ||
        token.token() != request_.prompt[prompt_scored_]) {
      return Internal("the decode worker scored token {} at {} of the prompt, which is not there",
                      token.token(), prompt_scored_);
    }
    if (prompt_scored_++ < prompt_told_) continue;
    ++prompt_told_;
    TellPrompt(rpc::FromProto(token), pieces);
  }
  for (int32_t i = 0; i < request_.n; ++i) {
    pieces[i].choice = i;
    if (!pieces[i].prompt.empty()) events.push_back(std::move(pieces[i]));
  }
  const bool goes_on = delta.tokens_size() > 0 || delta.finish() != v1::FINISH_REASON_UNSPECIFIED;
  if (!goes_on || prompt_scored_ == request_.prompt.size()) return absl::OkStatus();
  return Internal("the decode worker scored {} of {} prompt tokens", prompt_scored_,
                  request_.prompt.size());
}

void Flight::TellPrompt(const GeneratedToken& token, std::vector<Piece>& pieces) {
  for (int32_t i = 0; i < request_.n; ++i) {
    if (!request_.echo) {
      pieces[i].prompt.push_back({token});
      continue;
    }
    ChoiceText::Output output = choices_[i].text->PushPrompt(token);
    pieces[i].text += output.text;
    pieces[i].prompt.push_back(std::move(output.tokens.front()));
  }
}

// Two looks at the clock are only taken for somebody who wants to know.
void Flight::NoteTokenText(Choice& choice, const v1::SequenceDelta& delta, int num_visible,
                           std::vector<Event>& events) {
  if (!report_.trace) return TakeTokens(choice, delta, num_visible, events);
  const absl::Duration before = clock_.Monotonic();
  TakeTokens(choice, delta, num_visible, events);
  report_.detokenizing += clock_.Monotonic() - before;
}

void Flight::TakeTokens(Choice& choice, const v1::SequenceDelta& delta, int num_visible,
                        std::vector<Event>& events) {
  Piece piece{.choice = delta.choice()};
  std::optional<std::string> stop;
  for (int i = 0; i < num_visible && !stop; ++i) {
    choice.tokens.push_back(delta.tokens(i).token());
    ChoiceText::Output output = choice.text->Push(rpc::FromProto(delta.tokens(i)));
    piece.text += output.text;
    std::move(output.tokens.begin(), output.tokens.end(), std::back_inserter(piece.tokens));
    if (output.stopped) stop = std::move(output.stop);
  }
  if (!piece.text.empty() || !piece.tokens.empty()) events.push_back(std::move(piece));
  if (!stop) return;
  if (delta.finish() == v1::FINISH_REASON_UNSPECIFIED) {
    crew_.CancelOnWorker(worker_, attempt_id_, delta.choice());
  }
  EndChoice(choice, delta.choice(), FinishReason::kStop, *std::move(stop), events);
}

void Flight::EndChoice(Choice& choice, int32_t index, FinishReason reason, std::string stop,
                       std::vector<Event>& events) {
  choice.ended = true;
  --open_choices_;
  LetGo(1);
  events.push_back(ChoiceEnd{.choice = index, .reason = reason, .stop = std::move(stop)});
}

// Who did not deliver is said once, with the first token.
void Flight::NoteTimes(v1::SequenceTimes times) {
  std::optional<v1::SequenceTimes>& measured = report_.placements.back().measured;
  if (measured && times.failures().empty()) *times.mutable_failures() = measured->failures();
  measured = std::move(times);
}

// Every choice has gone on here: nothing is wanted of an earlier worker any more.
void Flight::NoteArrival() {
  if (kv_source_.value().empty()) return;
  for (const Choice& choice : choices_) {
    if (!choice.ended && choice.tokens.size() == choice.tokens_at_placement) return;
  }
  kv_source_ = WorkerId();
}

void Flight::NoteTokenTime(Choice& choice, int tokens) {
  if (tokens == 0) return;
  crew_.Served(request_, tokens);
  admitted_ = true;
  if (token_fingerprint_.empty()) token_fingerprint_ = worker_token_fingerprint_;
  losses_ = 0;
  failed_workers_.clear();
  stranded_until_.reset();
  const absl::Duration now = clock_.Monotonic();
  FlightReport::Placement& placement = report_.placements.back();
  if (!placement.first_token) placement.first_token = now - request_.accepted_at;
  if (!ttft_) {
    ttft_ = now - request_.accepted_at;
    of_model_.FirstToken(*ttft_);
    NoteFirstPlacement();
  }
  if (choice.last_token) of_model_.TokenGap((now - *choice.last_token) / tokens);
  choice.last_token = now;
}

}  // namespace baton::router

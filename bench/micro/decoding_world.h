#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "common/engine/scheduler.h"

namespace baton::engine::bench {

// `running` sequences that decode for ever, and `waiting` that do not fit beside them.
class DecodingWorld {
 public:
  DecodingWorld(int32_t running, int32_t waiting, int32_t prompt_tokens)
      : pool_(running * (prompt_tokens / 16 + 64)),
        scheduler_(
            {.batch_sequences_max = running, .step_tokens_max = running * prompt_tokens}, space_,
            [](const Sequence&) { return false; }, [](int64_t) { return absl::ZeroDuration(); }) {
    info_.vocab = 1000;
    info_.context_tokens_max = 1 << 20;
    for (int32_t i = 0; i < running; ++i) Add(prompt_tokens);
    Step();
    for (int32_t i = 0; i < waiting; ++i) Add(prompt_tokens);
  }
  ~DecodingWorld() {
    for (auto& sequence : sequences_) sequence->blocks.Release();
  }

  StepPlan Plan() { return scheduler_.Plan(); }
  void Commit(const StepPlan& plan) {
    for (const StepPlan::Part& part : plan.parts) {
      scheduler_.Commit(part);
      if (part.sequence->pending_tokens() == 0) part.sequence->tokens.push_back(7);
    }
  }
  void Step() { Commit(Plan()); }

 private:
  void Add(int32_t prompt_tokens) {
    SequenceSpec spec;
    spec.sampling.max_tokens = 1 << 20;
    const int32_t number = static_cast<int32_t>(sequences_.size());
    for (int32_t i = 0; i < prompt_tokens; ++i) spec.prompt.push_back((i * 31 + number) % 1000);
    sequences_.push_back(
        std::make_unique<Sequence>(std::move(spec), space_, info_, info_.context_tokens_max));
    sequences_.back()->arrival = sequences_.size();
    scheduler_.Enqueue(*sequences_.back());
  }

  model::ModelInfo info_;
  kv::BlockPool pool_;
  kv::PrefixCache cache_{pool_};
  kv::BlockHasher hasher_{"salt"};
  kv::BlockSpace space_{pool_, &cache_, hasher_, 16};
  Scheduler scheduler_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
};

}  // namespace baton::engine::bench

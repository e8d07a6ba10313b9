#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/engine/step_fit.h"
#include "common/engine/step_plan.h"
#include "common/engine/swap_store.h"
#include "common/model/model_runner.h"
#include "common/request/generated_token.h"

namespace baton::engine {

// Carries plans out on the model and the swap store, and learns what they cost. Engine thread only.
class StepExecutor {
 public:
  // `swap` is null when there is no host memory to swap to. All outlive the executor.
  StepExecutor(model::ModelRunner& runner, SwapStore* swap, const Clock& clock,
               int32_t step_tokens_max);

  void Copy(std::span<const BlockCopy> copies);
  // What the parts have brought, in their order.
  struct Tokens {
    std::vector<GeneratedToken> sampled;  // one for each part that picks
    std::vector<GeneratedToken> scored;   // each part's Sequence::ScoresOf()
  };
  // Where the runner does not look ahead, the step is over when it returns. Finish() comes in the
  // order of Begin(); two steps at most are begun and not finished.
  void Begin(const StepPlan& plan, std::function<void(int32_t layer)> on_layer);
  Tokens Finish();

  // Whether bringing `sequence` back from host memory is estimated cheaper than computing it again.
  bool SwapIsCheaper(const Sequence& sequence) const;
  // How long so many tokens of prompts take, by the fit; nothing as long as it is not to be
  // trusted.
  absl::Duration PrefillTime(int64_t tokens) const;
  // How many tokens of prompts fit into a step beside what is planned, if it is to take `target`,
  // by the fit: all that a step may have as long as it is not to be trusted; never fewer than 16,
  // so that prompts get on where the decodes alone take longer.
  int32_t PromptTokensWithin(absl::Duration target, const StepPlan& plan) const;
  StepFit fit() const { return fitter_.Fit(); }
  const StepWork& prefill_work() const { return prefill_work_; }
  const StepWork& decode_work() const { return decode_work_; }
  absl::Duration last_copy_time() const { return last_copy_time_; }
  // Of the step finished last: from its beginning, or from the end of the one before it when that
  // was later.
  absl::Duration last_execute_time() const { return last_execute_time_; }

 private:
  struct Begun {
    absl::Duration at;     // monotonic
    absl::Duration over;   // monotonic; of a step that is over
    bool is_over = false;  // and this came of it:
    model::StepResult result;
    std::vector<int32_t> sampled_logprobs, scored_logprobs;  // that were asked for
    int32_t prefill_tokens = 0, decodes = 0;
    int64_t context_tokens = 0;
  };
  void Fill(const StepPlan& plan, std::function<void(int32_t layer)> on_layer);
  void Learn(const Begun& step);

  model::ModelRunner& runner_;
  SwapStore* swap_;
  const Clock& clock_;
  const int32_t step_tokens_max_;
  StepFitter fitter_;
  StepWork prefill_work_;
  StepWork decode_work_;
  model::StepBatch batch_;              // kept for its memory
  double copy_bytes_per_second_ = 5e9;  // until measured: a modest machine's memcpy
  absl::Duration last_copy_time_;
  absl::Duration last_execute_time_;
  absl::Duration last_over_;  // monotonic
  std::deque<Begun> begun_;
};

}  // namespace baton::engine

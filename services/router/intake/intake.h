#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "services/router/intake/client_request.h"
#include "services/router/intake/served_models.h"
#include "services/router/membership/roster.h"
#include "services/router/telemetry/router_metrics.h"

namespace baton::router {

// Turns what a client asked into what the cluster can run: names the model, renders and tokenizes
// the prompt, checks every limit, resolves every default. The one place where both doors' requests
// are judged. Thread-safe; does its work on the caller's thread.
class Intake {
 public:
  struct Options {
    int32_t choices_max = 16;  // n
    int32_t user_bytes_max = 256;
    size_t messages_max = 4096;  // of a chat
    // Of the prompts of one call: tokens * (1 + prompt_logprobs) * n. They come as fast as a prompt
    // is computed and are kept until the client reads them.
    int64_t prompt_logprob_values_max = 1 << 18;
    absl::Duration timeout_max = absl::Hours(1);
    absl::Duration no_worker_retry_after = absl::Seconds(1);
    // A request for which no worker is there is accepted, to wait for one, until there has been
    // none for so long.
    absl::Duration worker_wait = absl::Seconds(5);
    RouterMetrics* metrics = nullptr;        // outlives the intake; null: nobody counts
    const TraceSampling* tracing = nullptr;  // outlives the intake; null: off
  };
  // The models and the roster outlive this.
  Intake(const Options& options, const ServedModels& models, const Roster& roster,
         const Clock& clock);

  // INVALID_ARGUMENT names the field (FieldOf), NOT_FOUND for the model, UNAVAILABLE with
  // RetryAfterOf when no decode worker serves it now.
  absl::StatusOr<AcceptedRequest> Accept(ClientRequest request) const;

  // By its name; empty: the only one there is.
  absl::StatusOr<const ServedModel*> Model(std::string_view name) const {
    return models_.Find(name);
  }
  // What the model of this name is called; empty: there is none.
  std::string_view NameOf(std::string_view name) const;
  struct Tokens {
    std::vector<int32_t> ids;
    int32_t context_tokens_max = 0;  // 0: no worker serves the model now
  };
  absl::StatusOr<Tokens> Tokenize(std::string_view model, Prompt prompt,
                                  bool add_special_tokens) const;
  absl::StatusOr<std::string> Detokenize(std::string_view model, const std::vector<int32_t>& ids,
                                         bool skip_special) const;
  absl::Status NoWorker(std::string_view model) const;
  // A body of at most so many bytes is parsed and tokenized in the time in which another thread
  // wakes up for it.
  size_t quick_bytes() const { return models_.all_fast() ? 4096 : 512; }
  // INVALID_ARGUMENT beyond the limit. Accept() asks for one request; a call of several prompts
  // asks for all together.
  absl::Status CheckPromptLogprobs(int64_t values) const;

 private:
  absl::StatusOr<std::vector<int32_t>> Encode(const ServedModel& model, const Prompt& prompt,
                                              bool add_special_tokens) const;
  absl::StatusOr<std::vector<int32_t>> EncodeChat(const ServedModel& model,
                                                  const ChatPrompt& chat) const;
  // Where it stands among traces; what workers and logs are told of it.
  void BeginTrace(ClientRequest& request, AcceptedRequest& accepted) const;
  absl::Status CheckFields(const ClientRequest& request) const;
  RequestId NewId(std::string_view chosen) const;

  const Options options_;
  const ServedModels& models_;
  const Roster& roster_;
  const Clock& clock_;
  const uint64_t process_;  // random, so that ids of two routers differ
  mutable std::atomic<uint64_t> next_id_ = 0;
};

}  // namespace baton::router

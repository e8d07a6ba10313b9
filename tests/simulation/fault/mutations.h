#pragma once

namespace baton::simulation {

// Faults of the product, made by hand between its parts: the simulation must find each of them.
struct Mutations {
  bool free_quarantine_early = false;       // the engine is told that a broken hand-over is fenced
  bool fence_answers_early = false;         // Fence is answered while writes are under way
  bool drop_token_on_continuation = false;  // another worker goes on without the last token
  bool skip_verification = false;           // what arrives is not checked
  bool lose_cancels = false;                // a worker hears of no cancel
};

}  // namespace baton::simulation

#include "bench/simulation/medium_model.h"

#include "fmt/format.h"

namespace baton::simulation {

WorkerSpec MediumWorker(bool decode, int number) {
  return {.id = fmt::format("{}-{}", decode ? "decode" : "prefill", number),
          .decode = decode,
          .fit = {.base_ms = 8,
                  .per_prefill_token_ms = 0.06,
                  .per_decode_ms = 0.08,
                  .per_context_token_ms = 0.00002}};
}

}  // namespace baton::simulation

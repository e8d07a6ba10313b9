#pragma once

#include "bench/simulation/model_worker.h"

namespace baton::simulation {

// A worker with a medium model on one accelerator, in round figures: a step takes 8 ms, 0.06 ms for
// each token of a prompt, 0.08 ms for each sequence that decodes and 0.02 µs for each token of
// their contexts.
WorkerSpec MediumWorker(bool decode, int number);

}  // namespace baton::simulation

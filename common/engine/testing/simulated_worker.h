#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/engine/admission_gate.h"
#include "common/engine/engine_core.h"
#include "common/engine/kv_mirror.h"
#include "common/engine/swap_store.h"
#include "common/engine/testing/recording_observer.h"
#include "common/model/model_runner.h"

namespace baton::engine::testing {

// One engine without its thread, with its KV memory and observer: a worker in a simulation, on any
// model. Single-threaded.
class SimulatedWorker {
 public:
  // Binds `runner` to a pool of its own, filled with noise: nothing is right by being zero.
  // `runner` and `clock` outlive the worker.
  SimulatedWorker(const EngineOptions& options, model::ModelRunner& runner, const Clock& clock);
  // The same with a pool on a device, and a mirror of it in host memory: kv() is the mirror.
  SimulatedWorker(const EngineOptions& options, model::ModelRunner& runner, const Clock& clock,
                  kernels::Backend& backend);
  ~SimulatedWorker();

  // As Engine::Post, but handled at once.
  absl::Status Post(Command command);
  bool Step() { return core_->Step(); }

  const EngineOptions& options() const { return options_; }
  int32_t context_tokens_max() const;
  const model::ModelInfo& info() const { return runner_.info(); }
  RecordingObserver& observer() { return observer_; }
  EngineCore& core() { return *core_; }
  const kernels::KvView& kv() const { return kv_; }
  bool idle() const { return gate_.empty() && core_->num_quarantined_epochs() == 0; }

  // What must hold at any time: empty, or what does not.
  std::string CheckAlways() const;
  // What must hold when nothing is going on.
  std::string CheckIdle();

 private:
  struct Unbound {};  // memory, and nothing that uses it
  SimulatedWorker(Unbound, const EngineOptions& options, model::ModelRunner& runner,
                  const Clock& clock);

  const EngineOptions options_;
  const Clock& clock_;
  model::ModelRunner& runner_;
  std::vector<float> memory_;
  std::unique_ptr<kernels::Buffer> device_memory_;  // null: the pool is in memory_
  kernels::KvView kv_;
  RecordingObserver observer_;
  AdmissionGate gate_;
  std::unique_ptr<SwapStore> swap_;
  std::unique_ptr<KvMirror> mirror_;
  std::unique_ptr<EngineCore> core_;
};

}  // namespace baton::engine::testing

#include "common/engine/testing/simulated_worker.h"

#include <set>
#include <utility>

#include "common/engine/sequence_limits.h"
#include "fmt/format.h"

namespace baton::engine::testing {

SimulatedWorker::SimulatedWorker(const EngineOptions& options, model::ModelRunner& runner,
                                 const Clock& clock)
    : SimulatedWorker(Unbound{}, options, runner, clock) {
  runner_.BindKv(kv_);
  if (options_.host_blocks > 0) swap_ = MakeHostSwapStore(kv_, options_.host_blocks);
  core_ = std::make_unique<EngineCore>(options_, runner_, observer_, clock_, swap_.get(), gate_);
}

SimulatedWorker::SimulatedWorker(const EngineOptions& options, model::ModelRunner& runner,
                                 const Clock& clock, kernels::Backend& backend)
    : SimulatedWorker(Unbound{}, options, runner, clock) {
  device_memory_ = backend.Allocate(kv_.pool_bytes());
  kernels::KvView device = kv_;
  device.base = device_memory_->data();
  backend.CopyToDevice(kv_.base, device.base, kv_.pool_bytes());  // the same noise
  runner_.BindKv(device);
  if (options_.host_blocks > 0) {
    swap_ = MakeDeviceSwapStore(backend, device, options_.host_blocks);
  }
  mirror_ = std::make_unique<KvMirror>(backend, device, kv_);
  core_ = std::make_unique<EngineCore>(options_, runner_, observer_, clock_, swap_.get(), gate_,
                                       mirror_.get());
}

SimulatedWorker::SimulatedWorker(Unbound, const EngineOptions& options, model::ModelRunner& runner,
                                 const Clock& clock)
    : options_(options),
      clock_(clock),
      runner_(runner),
      kv_(runner.KvGeometry(options.num_blocks + options.num_spares, options.block_tokens)),
      gate_(options.waiting_sequences_max, options.waiting_tokens_max) {
  // Finite, also when read as bf16: attention may multiply what is masked by zero.
  memory_.resize(kv_.pool_bytes() / sizeof(float) + 1);
  for (size_t i = 0; i < memory_.size(); ++i) memory_[i] = float(i % 1009) - 504.0f;
  kv_.base = reinterpret_cast<std::byte*>(memory_.data());
}

SimulatedWorker::~SimulatedWorker() { core_->Shutdown(); }

absl::Status SimulatedWorker::Post(Command command) {
  const SequenceLimits limits(options_, runner_.info());
  if (const auto* submit = std::get_if<Submit>(&command)) {
    RETURN_IF_ERROR(limits.Check(submit->spec));
    RETURN_IF_ERROR(gate_.Enter({submit->spec.id}, submit->spec.prompt.size()));
  }
  if (const auto* prefill = std::get_if<SubmitPrefill>(&command)) {
    RETURN_IF_ERROR(limits.Check(*prefill));
    RETURN_IF_ERROR(
        gate_.Enter({prefill->spec.id, true, prefill->epoch}, prefill->spec.prompt.size()));
  }
  core_->Handle(std::move(command), clock_.Monotonic());
  return absl::OkStatus();
}

int32_t SimulatedWorker::context_tokens_max() const {
  return SequenceLimits(options_, runner_.info()).context_tokens_max();
}

std::string SimulatedWorker::CheckAlways() const {
  const kv::BlockPool::Counters& blocks = core_->pool().counters();
  if (blocks.free + blocks.cached + blocks.active + blocks.quarantined != blocks.total) {
    return "the block counters do not add up";
  }
  if (core_->prefix_cache().size() > blocks.cached + blocks.active) {
    return fmt::format("{} names for {} blocks", core_->prefix_cache().size(),
                       blocks.cached + blocks.active);
  }
  return "";
}

std::string SimulatedWorker::CheckIdle() {
  if (!idle()) return "not idle";
  const LoadReport load = core_->Load();
  if (load.blocks_free + load.blocks_cached != load.blocks_total || load.blocks_replaced > 0) {
    return fmt::format("{} blocks active, {} quarantined and {} replaced in an idle worker",
                       load.blocks_active, load.blocks_quarantined, load.blocks_replaced);
  }
  if (load.waiting + load.running != 0 || load.waiting_tokens != 0) return "load without work";
  std::set<kv::BlockHash> held;
  for (const auto& stored : core_->prefix_cache().Snapshot()) held.insert(stored.hash);
  if (held != observer_.ReplayKvEvents()) return "the KV events tell another cache";
  return CheckAlways();
}

}  // namespace baton::engine::testing

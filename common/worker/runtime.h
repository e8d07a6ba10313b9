#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "baton/v1/cluster.pb.h"
#include "common/base/clock.h"
#include "common/config/model_options.h"
#include "common/config/worker_options.h"
#include "common/engine/engine.h"
#include "common/model/device.h"
#include "common/model/model_runner.h"
#include "common/rpc/credentials.h"
#include "common/transfer/transport.h"
#include "common/worker/compute_device.h"
#include "common/worker/device_failure.h"
#include "common/worker/footing.h"
#include "common/worker/health_door.h"
#include "kernels/backend.h"
#include "kernels/kv_shares.h"

namespace baton::worker {

// Between workers, and between workers and routers. 2: KV pools may be divided among ranks.
inline constexpr int32_t kProtocolVersion = 2;

enum class Role : uint8_t { kPrefill, kDecode };

// "prefill", "decode": also the section of the cluster file.
constexpr const char* NameOf(Role role) { return role == Role::kPrefill ? "prefill" : "decode"; }

// Everything below a worker's service: the device, the model on it, the KV pool in memory that
// peers can write to, and (once started) the engine. Built once in main(); parts die in reverse
// order.
class Runtime {
 public:
  ~Runtime();
  // Loads the model, logging progress. Errors name the flag, file or field that stands in the way.
  static absl::StatusOr<std::unique_ptr<Runtime>> Create(Role role,
                                                         const config::ModelOptions& model,
                                                         const config::WorkerOptions& worker);

  // `observer` outlives the runtime's engine.
  absl::Status StartEngine(engine::Observer& observer, const Clock& clock);
  // Joins the engine thread: no observer call comes after.
  void StopEngine() { engine_.reset(); }

  Role role() const { return role_; }
  engine::Engine& engine() { return *engine_; }
  transfer::Transport& transport() { return *transport_; }
  const transfer::Region& region() const { return region_; }
  // The KV pool as peers reach it: in host memory, where `region` is. On a GPU it is the mirror of
  // the pool that the model reads (engine::KvMirror).
  const kernels::KvShares& pool() const { return pool_; }
  DeviceFailure& device_failure() { return device_failure_; }
  // Open since before the model was loaded; null: there is none.
  HealthDoor* health_door() { return health_door_.get(); }
  const model::ModelInfo& model() const { return runner_->info(); }
  const std::string& worker_id() const { return worker_id_; }
  // How it proves itself to routers and workers.
  const rpc::Credentials& credentials() const { return credentials_; }
  // Equal on two workers that may hand KV to each other: the model's, the protocol's version and
  // the block size.
  const std::string& fingerprint() const { return fingerprint_; }
  // Equal on two workers that generate the same tokens: what one has begun the other may go on
  // with. Sums over another number of ranks round otherwise (docs/decisions/0010).
  std::string token_fingerprint() const;
  // What it computes on, now.
  v1::ComputeDevice DescribeDevice() const { return worker::DescribeDevice(devices_, KvReached()); }
  // Longest prompt plus output that model and pool allow.
  int32_t context_tokens_max() const;
  engine::EngineOptions engine_options() const;

  // Valid as long as this; its `post` between StartEngine() and StopEngine().
  Footing footing();

  // What the routers are told.
  v1::Registration Describe(const std::string& grpc_address,
                            const std::string& metrics_address) const;

 private:
  Runtime(Role role, const config::ModelOptions& model, const config::WorkerOptions& worker);
  absl::Status OpenHealthDoor();
  absl::Status Load();
  // Of the start, with a line in the log now and then.
  model::LoadProgress NoteProgress();
  absl::Status OpenTransport();
  absl::Status MakeKvPool();
  absl::StatusOr<int32_t> KvBlocks() const;
  int32_t SpareBlocks() const;
  kernels::Backend& backend() const { return *devices_.backends.front(); }
  std::optional<kernels::DeviceMemory> DeviceMemory() const;
  std::unique_ptr<engine::SwapStore> MakeSwapStore(int32_t num_slots) const;
  std::unique_ptr<engine::KvMirror> MakeMirror() const;
  void BindDevicePools();
  KvReach KvReached() const;

  const Role role_;
  const config::ModelOptions model_options_;
  const config::WorkerOptions options_;
  const std::string worker_id_;
  rpc::Credentials credentials_;
  std::unique_ptr<HealthDoor> health_door_;
  std::string fingerprint_;
  DeviceFailure device_failure_;
  model::DeviceGroup devices_;
  std::unique_ptr<model::ModelRunner> runner_;
  std::unique_ptr<transfer::Transport> transport_;
  transfer::Region region_;
  int32_t kv_blocks_ = 0;  // of pool_; the rest are spares
  kernels::KvShares pool_;
  // Each rank's pool on its device; none: the model reads pool_ itself.
  std::vector<std::unique_ptr<kernels::Buffer>> device_memory_;
  std::vector<kernels::KvView> device_pools_;
  bool mirror_is_pinned_ = false;
  bool we_pinned_mirror_ = false;
  std::unique_ptr<engine::Engine> engine_;
};

}  // namespace baton::worker

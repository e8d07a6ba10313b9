#include "common/worker/runtime.h"

#include <unistd.h>

#include <algorithm>
#include <optional>
#include <random>
#include <span>

#include "common/base/check.h"
#include "common/engine/kv_mirror.h"
#include "common/engine/swap_store.h"
#include "common/handover/destination.h"
#include "common/model/device.h"
#include "common/model/kv_dtype.h"
#include "common/model/load_model.h"
#include "common/model/quantize.h"
#include "common/telemetry/logging.h"
#include "common/transfer/nccl/nccl_links.h"
#include "common/transfer/nccl/nccl_transport.h"
#include "common/transfer/ucx/ucx_transport.h"
#include "common/worker/kv_memory.h"
#include "common/worker/load_report.h"

namespace baton::worker {
namespace {

std::string HostName() {
  char name[256] = "localhost";
  gethostname(name, sizeof name - 1);
  return name;
}

// Unique per process start, so that a restarted worker is never taken for its predecessor.
std::string MakeWorkerId(Role role, const std::string& wanted) {
  const std::string stem =
      !wanted.empty() ? wanted : fmt::format("{}-{}", NameOf(role), HostName());
  return fmt::format("{}@{:08x}", stem, std::random_device{}());
}

model::DeviceOptions DeviceOf(const config::WorkerOptions& options) {
  model::DeviceOptions device;
  device.threads = options.threads;
  device.cuda_index = options.device.index;
  device.deterministic = options.deterministic;
  device.cuda_graphs = options.cuda_graphs;
  device.cuda_warpgroups = options.cuda_warpgroups;
  device.gemm_folder = options.gemm_cache_folder();
  switch (options.gemm) {
    case config::GemmBy::kOwn:
      device.gemm = kernels::CudaGemm::kOwn;
      break;
    case config::GemmBy::kAuto:
      device.gemm = kernels::CudaGemm::kAuto;
      break;
    case config::GemmBy::kCublasLt:
      device.gemm = kernels::CudaGemm::kCublasLt;
      break;
  }
  switch (options.device.kind) {
    case config::Device::Kind::kAuto:
      device.kind = model::DeviceKind::kAuto;
      break;
    case config::Device::Kind::kCpu:
      device.kind = model::DeviceKind::kCpu;
      break;
    case config::Device::Kind::kCuda:
      device.kind = model::DeviceKind::kCuda;
      break;
  }
  switch (options.isa) {
    case config::Isa::kAuto:
      device.isa = "auto";
      break;
    case config::Isa::kScalar:
      device.isa = "scalar";
      break;
    case config::Isa::kAvx2:
      device.isa = "avx2";
      break;
    case config::Isa::kAvx512:
      device.isa = "avx512";
      break;
    case config::Isa::kAvx512Bf16:
      device.isa = "avx512_bf16";
      break;
  }
  return device;
}

model::WeightDType DTypeOf(config::Dtype dtype) {
  switch (dtype) {
    case config::Dtype::kF32:
      return model::WeightDType::kF32;
    case config::Dtype::kBf16:
      return model::WeightDType::kBF16;
    case config::Dtype::kAuto:
      break;
  }
  return model::WeightDType::kAuto;
}

transfer::UcxOptions UcxOptionsOf(const config::WorkerOptions& options) {
  transfer::UcxOptions ucx;
  if (options.transfer_path == config::TransferPath::kSharedMemory) {
    ucx.transports = transfer::UcxTransports::kSharedMemory;
  } else if (options.transfer_path == config::TransferPath::kTcp) {
    ucx.transports = transfer::UcxTransports::kNetwork;
  }
  return ucx;
}

// Two fifths of what the weights leave: two workers on one GPU leave some to each other. And a
// quarter of the machine's memory, because the pool has a mirror there.
config::Bytes DefaultKvMemoryOn(const kernels::DeviceMemory& device, int64_t num_devices) {
  const int64_t machine = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  return {std::min(static_cast<int64_t>(device.bytes_free / 5 * 2) * num_devices, machine / 4)};
}

std::string WhatIsFree(const kernels::DeviceMemory& device) {
  return fmt::format("; the GPU has {} of {} free beside the weights",
                     config::RoundedBytesText(static_cast<int64_t>(device.bytes_free)),
                     config::RoundedBytesText(static_cast<int64_t>(device.bytes)));
}

// So that a supervisor and a person can follow.
model::LoadProgress LogProgress() {
  return [report = LoadReport(Clock::Real())](int64_t done, int64_t total) mutable {
    const auto line = report.After(done, total);
    if (!line) return;
    telemetry::LogInfo("model", "loading weights",
                       {{"percent", line->percent},
                        {"bytes", line->done_bytes},
                        {"total_bytes", line->total_bytes},
                        {"gb_per_s", line->gigabytes_per_second}});
  };
}

}  // namespace

absl::StatusOr<std::unique_ptr<Runtime>> Runtime::Create(Role role,
                                                         const config::ModelOptions& model,
                                                         const config::WorkerOptions& worker) {
  std::unique_ptr<Runtime> runtime(new Runtime(role, model, worker));
  // First: loading a model takes minutes.
  ASSIGN_OR_RETURN(runtime->credentials_, rpc::Credentials::Make(worker.tls, rpc::Role::kWorker));
  RETURN_IF_ERROR(runtime->OpenHealthDoor());
  RETURN_IF_ERROR(runtime->Load());
  RETURN_IF_ERROR(runtime->MakeKvPool());
  return runtime;
}

Runtime::Runtime(Role role, const config::ModelOptions& model, const config::WorkerOptions& worker)
    : role_(role),
      model_options_(model),
      options_(worker),
      worker_id_(MakeWorkerId(role, worker.worker_id)) {}

absl::Status Runtime::OpenHealthDoor() {
  if (options_.health.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(health_door_,
                   HealthDoor::Open(options_.health, options_.startup_stall, Clock::Real()));
  return absl::OkStatus();
}

model::LoadProgress Runtime::NoteProgress() {
  return [this, log = LogProgress()](int64_t done, int64_t total) {
    if (health_door_ != nullptr) health_door_->NoteProgress();
    log(done, total);
  };
}

absl::Status Runtime::Load() {
  model::DeviceOptions device = DeviceOf(options_);
  device.on_failure = [this](const std::string& what) { device_failure_.End(what); };
  ASSIGN_OR_RETURN(devices_, model::OpenDevices(device, options_.tensor_parallel_size));
  if (!devices_.why_no_gpu.empty()) {
    telemetry::LogInfo("worker", "computing on the CPU", {{"no_gpu", devices_.why_no_gpu}});
  }
  model::LoadOptions load;
  load.model_dir = model_options_.path;
  load.name = model_options_.served_name();
  load.dtype = DTypeOf(model_options_.dtype);
  load.quantize = model::QuantizeOf(model_options_.quantize);
  load.kv_dtype = model::KvDTypeOf(model_options_.kv_dtype);
  load.format = model_options_.load_format == config::LoadFormat::kRandom
                    ? model::LoadFormat::kRandom
                    : model::LoadFormat::kSafetensors;
  load.context_tokens_max = options_.context_tokens_max;
  load.step_tokens_max = options_.step_tokens_max;
  // Prompts whose log-probabilities are wanted go through the head this many rows at a time: not
  // row by row where batches are small.
  load.logits_rows_max = std::max(options_.batch_sequences_max, 32);
  load.progress = NoteProgress();
  load.on_failure = device.on_failure;
  ASSIGN_OR_RETURN(runner_, model::LoadModel(load, devices_.ranks()));
  fingerprint_ = fmt::format("{}/v{}/P{}", runner_->info().fingerprint, kProtocolVersion,
                             options_.block_tokens);
  return absl::OkStatus();
}

Runtime::~Runtime() {
  StopEngine();
  if (we_pinned_mirror_) backend().UnpinHost(region_.data);
}

// Of the fullest device.
std::optional<kernels::DeviceMemory> Runtime::DeviceMemory() const {
  std::optional<kernels::DeviceMemory> fullest;
  for (const auto& backend : devices_.backends) {
    const auto memory = backend->memory();
    if (memory && (!fullest || memory->bytes_free < fullest->bytes_free)) fullest = memory;
  }
  return fullest;
}

// As many as are asked for, or as the memory for them holds. A block is on every rank, each with
// its heads of it.
absl::StatusOr<int32_t> Runtime::KvBlocks() const {
  const int64_t share_bytes =
      static_cast<int64_t>(runner_->KvGeometry(1, options_.block_tokens).block_bytes());
  const int64_t block_bytes = share_bytes * runner_->num_ranks();
  const std::optional<kernels::DeviceMemory> device = DeviceMemory();
  const config::Bytes memory = device && options_.kv_memory.count == 0
                                   ? DefaultKvMemoryOn(*device, runner_->num_ranks())
                                   : options_.kv_memory_or_default();
  const int64_t wanted = options_.kv_blocks > 0 ? options_.kv_blocks : memory.count / block_bytes;
  // More blocks than the longest context of a full batch could ever use are only touched memory.
  const int64_t useful = int64_t(options_.batch_sequences_max) *
                         ((runner_->info().context_tokens_max - 1) / options_.block_tokens + 1) * 2;
  const int64_t blocks = options_.kv_blocks > 0 ? wanted : std::min(wanted, useful);
  if (blocks < 2) {
    return InvalidArgument("kv_memory of {} holds {} KV blocks of {}; at least 2 are needed{}",
                           config::BytesText(memory), blocks, config::RoundedBytesText(block_bytes),
                           device ? WhatIsFree(*device) : "");
  }
  if (device && blocks * share_bytes > static_cast<int64_t>(device->bytes_free)) {
    const int64_t fits = static_cast<int64_t>(device->bytes_free) / share_bytes;
    return InvalidArgument(
        "{} KV blocks of {} need {}{}; {}", blocks, config::RoundedBytesText(share_bytes),
        config::RoundedBytesText(blocks * share_bytes), WhatIsFree(*device),
        fits < 2 ? "a smaller model, dtype bf16, or a smaller step_tokens_max and "
                   "batch_sequences_max leave more"
                 : fmt::format("kv_blocks of {} would fit", fits));
  }
  return static_cast<int32_t>(blocks);
}

// Only a decode worker's blocks are lent, and only host memory is free of charge until it is
// touched.
int32_t Runtime::SpareBlocks() const {
  if (role_ != Role::kDecode || backend().memory()) return 0;
  return static_cast<int32_t>(int64_t{kv_blocks_} * options_.kv_spare_percent / 100);
}

absl::Status Runtime::OpenTransport() {
  if (options_.transport == "ucx") {
    ASSIGN_OR_RETURN(transport_, transfer::UcxTransport::Create(UcxOptionsOf(options_)));
    return absl::OkStatus();
  }
  const kernels::DeviceFacts facts = backend().facts();
  if (facts.index < 0) {
    return FailedPrecondition(
        "transport is {}, which is between GPUs, but this worker computes on {}",
        options_.transport, facts.name);
  }
  ASSIGN_OR_RETURN(auto links, transfer::OpenNcclLinks(facts.index));
  const transfer::NcclOptions nccl = {.listen_host = options_.grpc.host,
                                      .advertise_host = options_.advertise.host};
  ASSIGN_OR_RETURN(transport_, transfer::NcclTransport::Create(nccl, std::move(links)));
  return absl::OkStatus();
}

absl::Status Runtime::MakeKvPool() {
  ASSIGN_OR_RETURN(kv_blocks_, KvBlocks());
  RETURN_IF_ERROR(OpenTransport());
  pool_ = kernels::KvShares(runner_->KvGeometry(kv_blocks_ + SpareBlocks(), options_.block_tokens),
                            runner_->num_ranks(), model().num_kv_heads);
  ASSIGN_OR_RETURN(region_, transport_->AllocateRegion(pool_.bytes()));
  pool_.first.base = region_.data;
  if (backend().memory()) {
    BindDevicePools();
  } else {
    for (int32_t r = 0; r < pool_.num_ranks; ++r) runner_->BindRankKv(r, pool_.rank(r));
  }
  telemetry::LogInfo(
      "worker", "model loaded",
      {{"model", runner_->info().name},
       {"parameters", runner_->info().num_parameters},
       {"backend", backend().name()},
       {"gemm", backend().facts().gemm},
       {"tensor_parallel_size", pool_.num_ranks},
       {"kv_blocks", kv_blocks_},
       {"kv_spares", pool_.num_blocks() - kv_blocks_},
       {"block_tokens", options_.block_tokens},
       {"kv_bytes", size_t(kv_blocks_) * pool_.block_bytes()},
       {"hand_over_from", device_pools_.empty() ? "the pool" : "host mirror of the pool"}});
  return absl::OkStatus();
}

// The transport reaches host memory only: peers write to a mirror of the pools there.
void Runtime::BindDevicePools() {
  // NCCL's regions are pinned by themselves.
  const bool comes_pinned = options_.transport == "nccl";
  we_pinned_mirror_ = !comes_pinned && backend().PinHost(region_.data, region_.bytes);
  mirror_is_pinned_ = comes_pinned || we_pinned_mirror_;
  if (!mirror_is_pinned_) {
    telemetry::LogWarning("worker", "the KV pool's mirror cannot be pinned: hand-overs are slower",
                          {{"bytes", region_.bytes}});
  }
  for (int32_t r = 0; r < pool_.num_ranks; ++r) {
    device_memory_.push_back(devices_.backends[r]->Allocate(pool_.first.pool_bytes()));
    device_pools_.push_back(pool_.first);
    device_pools_.back().base = device_memory_.back()->data();
    runner_->BindRankKv(r, device_pools_.back());
  }
}

std::unique_ptr<engine::SwapStore> Runtime::MakeSwapStore(int32_t num_slots) const {
  std::vector<std::unique_ptr<engine::SwapStore>> ranks;
  for (int32_t r = 0; r < pool_.num_ranks; ++r) {
    ranks.push_back(
        device_pools_.empty()
            ? engine::MakeHostSwapStore(pool_.rank(r), num_slots)
            : engine::MakeDeviceSwapStore(*devices_.backends[r], device_pools_[r], num_slots));
  }
  return engine::JoinSwapStores(std::move(ranks));
}

std::unique_ptr<engine::KvMirror> Runtime::MakeMirror() const {
  if (device_pools_.empty()) return nullptr;
  std::vector<engine::KvMirror::Rank> ranks;
  for (int32_t r = 0; r < pool_.num_ranks; ++r) {
    ranks.push_back({devices_.backends[r].get(), device_pools_[r], pool_.rank(r)});
  }
  return std::make_unique<engine::KvMirror>(std::move(ranks));
}

absl::Status Runtime::StartEngine(engine::Observer& observer, const Clock& clock) {
  const engine::EngineOptions options = engine_options();
  ASSIGN_OR_RETURN(engine_,
                   engine::Engine::Start(options, *runner_, observer, clock,
                                         MakeSwapStore(options.host_blocks), MakeMirror()));
  return absl::OkStatus();
}

std::string Runtime::token_fingerprint() const {
  return fmt::format("{}/P{}/T{}", model().fingerprint, options_.block_tokens, pool_.num_ranks);
}

KvReach Runtime::KvReached() const {
  if (device_pools_.empty()) return {};
  return {.access = v1::KV_ACCESS_HOST_MIRROR,
          .why_mirror = fmt::format("{} is given host memory only", options_.transport),
          .mirror_pinned = mirror_is_pinned_};
}

int32_t Runtime::context_tokens_max() const {
  const int64_t pool_tokens = int64_t(kv_blocks_) * pool_.block_tokens();
  return static_cast<int32_t>(std::min<int64_t>(runner_->info().context_tokens_max, pool_tokens));
}

engine::EngineOptions Runtime::engine_options() const {
  engine::EngineOptions engine;
  engine.block_tokens = options_.block_tokens;
  engine.num_blocks = kv_blocks_;
  engine.num_spares = pool_.num_blocks() - kv_blocks_;
  if (engine.num_spares > 0) {
    engine.drop_memory = [pool = pool_](std::span<const BlockId> blocks) {
      DropKvMemory(pool, blocks);
    };
  }
  // More than the pool holds can never be swapped out at a time.
  engine.host_blocks = static_cast<int32_t>(
      std::min<int64_t>(options_.swap_memory.count / int64_t(pool_.block_bytes()), kv_blocks_));
  engine.batch_sequences_max = options_.batch_sequences_max;
  engine.step_tokens_max = options_.step_tokens_max;
  engine.itl_target = options_.itl_target;
  engine.waiting_sequences_max = options_.waiting_sequences_max;
  engine.waiting_tokens_max = options_.waiting_tokens_max;
  engine.prefix_cache = options_.prefix_cache;
  engine.look_ahead = options_.look_ahead;
  switch (options_.preemption) {
    case config::Preemption::kAuto:
      engine.preemption = engine::PreemptionMode::kAuto;
      break;
    case config::Preemption::kRecompute:
      engine.preemption = engine::PreemptionMode::kRecompute;
      break;
    case config::Preemption::kSwap:
      engine.preemption = engine::PreemptionMode::kSwap;
      break;
  }
  engine.salt = fingerprint_;
  return engine;
}

Footing Runtime::footing() {
  return {.post = [this](engine::Command command) { return engine().Post(std::move(command)); },
          .pool = pool_,
          .transport = transport_.get(),
          .worker_id = worker_id_,
          .fingerprint = fingerprint_,
          .vocab = model().vocab};
}

v1::Registration Runtime::Describe(const std::string& grpc_address,
                                   const std::string& metrics_address) const {
  v1::Registration self;
  self.set_worker_id(worker_id_);
  self.set_role(role_ == Role::kPrefill ? v1::WORKER_ROLE_PREFILL : v1::WORKER_ROLE_DECODE);
  self.set_model(model().name);
  self.set_fingerprint(fingerprint_);
  self.set_grpc_address(grpc_address);
  self.set_protocol(kProtocolVersion);
  self.set_block_tokens(pool_.block_tokens());
  self.set_num_blocks(kv_blocks_);
  self.set_context_tokens_max(context_tokens_max());
  self.set_vocab_size(model().vocab);
  for (int32_t token : model().eos_token_ids) self.add_eos_token_ids(token);
  self.set_heartbeat_ms(static_cast<int32_t>(absl::ToInt64Milliseconds(options_.heartbeat)));
  self.set_process_id(getpid());
  self.set_batch_sequences_max(options_.batch_sequences_max);
  self.set_waiting_sequences_max(options_.waiting_sequences_max);
  self.set_waiting_tokens_max(options_.waiting_tokens_max);
  self.set_kv_bytes_per_token(static_cast<int64_t>(pool_.block_bytes()) / pool_.block_tokens());
  self.set_hash_salt(fingerprint_);
  self.set_metrics_address(metrics_address);
  self.set_step_tokens_max(options_.step_tokens_max);
  self.set_tensor_parallel_size(pool_.num_ranks);
  self.set_token_fingerprint(token_fingerprint());
  *self.mutable_device() = DescribeDevice();
  *self.mutable_transfer() = handover::ToProto(transport_->local_address());
  return self;
}

}  // namespace baton::worker

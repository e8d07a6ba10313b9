#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/config/address.h"
#include "common/config/device.h"
#include "common/config/log_options.h"
#include "common/config/option_set.h"
#include "common/config/tls_options.h"
#include "common/config/units.h"

namespace baton::config {

enum class Isa : uint8_t { kAuto, kScalar, kAvx2, kAvx512, kAvx512Bf16 };
enum class GemmBy : uint8_t { kOwn, kAuto, kCublasLt };
enum class Preemption : uint8_t { kAuto, kRecompute, kSwap };
enum class TransferPath : uint8_t { kAuto, kSharedMemory, kTcp };

// Sections `prefill` and `decode`: one worker process. Both kinds take the same options.
struct WorkerOptions {
  // Arithmetic.
  Device device;
  int32_t tensor_parallel_size = 1;  // devices that the model is divided among
  bool deterministic = false;        // on a GPU: rows have the same bits in any batch
  bool cuda_graphs = true;           // on a GPU: decode steps are prepared once, sizes are few
  bool cuda_warpgroups = true;       // on a GPU that has them: wgmma and TMA
  bool look_ahead = true;            // on a GPU: a step is begun before the last one's tokens came
  GemmBy gemm = GemmBy::kOwn;        // on a GPU: who multiplies by weights in bf16
  std::string gemm_cache;            // see gemm_cache_folder()
  int32_t threads = 0;               // of the CPU backend; 0: one per core
  Isa isa = Isa::kAuto;

  // KV memory. The pool holds kv_blocks blocks when given, else as many as fit into kv_memory.
  int32_t block_tokens = 16;       // 16, 32 or 64
  Bytes kv_memory;                 // 0: DefaultKvMemory()
  int32_t kv_blocks = 0;           // 0: from kv_memory
  int32_t kv_spare_percent = 100;  // of the blocks, for a decode worker in host memory
  Bytes swap_memory = MiB(256);    // host memory for preempted sequences; 0: they are recomputed
  int32_t context_tokens_max = 0;  // 0: as long as the model and the pool allow
  bool prefix_cache = true;
  Preemption preemption = Preemption::kAuto;

  // Batching.
  int32_t batch_sequences_max = 64;
  int32_t step_tokens_max = 512;
  absl::Duration itl_target;  // of those that decode beside prompts; 0: any
  int32_t waiting_sequences_max = 1024;
  int64_t waiting_tokens_max = 1 << 20;

  // Network.
  Address grpc{"127.0.0.1", 0};
  Address advertise;             // empty: grpc's host with the bound port
  std::vector<Address> routers;  // dialled, all of them; names may resolve to several
  Address metrics;               // empty: no metrics page
  std::string worker_id;         // empty: role, host name and process id
  std::string ports_file;        // empty: none
  TlsOptions tls;
  // grpc.health.v1 alone and plain, from before the model is loaded, for probes without a
  // certificate; empty: none.
  Address health;
  absl::Duration startup_stall = absl::Minutes(3);  // nothing loaded for so long: not alive

  // KV hand-over.
  std::string transport = "ucx";
  TransferPath transfer_path = TransferPath::kAuto;
  bool checksums = true;
  absl::Duration lease = absl::Seconds(1);  // a prefill worker may be silent for so long

  absl::Duration heartbeat = absl::Milliseconds(200);
  absl::Duration drain_timeout = absl::Seconds(30);
  LogOptions log;

  void AddTo(OptionSet& set);
  absl::Status Validate(std::string_view section) const;
  // Where times of GEMMs are kept: gemm_cache; if that is empty, "baton" in the user's folder for
  // caches ($XDG_CACHE_HOME, else ~/.cache). Empty: nowhere, because it is "none" or there is none.
  std::string gemm_cache_folder() const;
  // kv_memory, or its default.
  Bytes kv_memory_or_default() const;
};

// A tenth of the machine's memory, 512 MiB at most and 64 MiB at least.
Bytes DefaultKvMemory();

}  // namespace baton::config

// The declarations of every section: one line says flag, key, range and meaning.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "common/base/check.h"
#include "common/config/cluster_options.h"
#include "common/config/placement_policies.h"

namespace baton::config {

void LogOptions::AddTo(OptionSet& set) {
  set.Add("log_level", &level,
          {{"debug", LogLevel::kDebug},
           {"info", LogLevel::kInfo},
           {"warning", LogLevel::kWarning},
           {"error", LogLevel::kError}},
          {.help = "least severe message shown"});
  set.Add("log_format", &format, {{"text", LogFormat::kText}, {"json", LogFormat::kJson}},
          {.help = "text for people, json (one object per line) for collectors"});
}

void ModelOptions::AddTo(OptionSet& set) {
  set.Add("path", &path,
          {.flag = "--model", .help = "Hugging Face folder: config.json, weights, tokenizer"});
  set.Add("name", &name,
          {.flag = "--model-name", .help = "name clients ask for; default: the folder's name"});
  set.Add("dtype", &dtype, {{"auto", Dtype::kAuto}, {"f32", Dtype::kF32}, {"bf16", Dtype::kBf16}},
          {.help = "type of weights in memory, and of KV unless kv_dtype says otherwise"});
  set.Add("quantize", &quantize,
          {{"none", Quantize::kNone},
           {"int8", Quantize::kInt8},
           {"int4-g32", Quantize::kInt4G32},
           {"int4-g64", Quantize::kInt4G64},
           {"int4-g128", Quantize::kInt4G128}},
          {.help = "rounds weights as they are loaded, and what they are multiplied with to int8: "
                   "less memory, faster, less precise (docs/quantization.md). int4 has a scale for "
                   "so many inputs. The same on all workers; on the CPU only"});
  set.Add("kv_dtype", &kv_dtype,
          {{"auto", KvDtype::kAuto},
           {"f32", KvDtype::kF32},
           {"bf16", KvDtype::kBf16},
           {"fp8", KvDtype::kFp8},
           {"int8", KvDtype::kInt8}},
          {.help = "type of the KV cache; fp8 and int8 hold twice the tokens of bf16 and lose a "
                   "little precision (docs/quantization.md). The same on all workers"});
  set.Add("load_format", &load_format,
          {{"auto", LoadFormat::kAuto},
           {"safetensors", LoadFormat::kSafetensors},
           {"random", LoadFormat::kRandom}},
          {.help = "random makes weights of config.json's shapes up, for benchmarks"});
}

absl::Status ModelOptions::Validate() const {
  if (path.empty()) {
    return FailedPrecondition("no model: give --model PATH or model.path in the cluster file");
  }
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    return FailedPrecondition("--model {}: there is no such folder", path);
  }
  return absl::OkStatus();
}

std::string ModelOptions::served_name() const {
  if (!name.empty()) return name;
  std::filesystem::path folder(path);
  if (!folder.has_filename()) folder = folder.parent_path();  // "models/x/"
  std::string last = folder.filename().string();
  if (last == "." || last == "..") {
    std::error_code error;
    last = std::filesystem::canonical(folder, error).filename().string();
  }
  return last;
}

absl::Status RouterOptions::Validate() const {
  if (!trace_endpoint.empty() && !trace_endpoint.starts_with("grpc://") &&
      !trace_endpoint.starts_with("http://")) {
    return InvalidArgument(
        "router.trace_endpoint must be grpc://HOST:PORT or http://HOST:PORT, got '{}'",
        trace_endpoint);
  }
  RETURN_IF_ERROR(CheckPlacementPolicy("router.placement", placement));
  for (const auto& [model, policy] : model_placement) {
    RETURN_IF_ERROR(
        CheckPlacementPolicy(fmt::format("router.model_placement of {}", model), policy));
  }
  RETURN_IF_ERROR(tls.Validate("router"));
  if (http_tls_certificate.empty() != http_tls_key.empty()) {
    return InvalidArgument(
        "router.http_tls_certificate and router.http_tls_key belong together; missing: {}",
        http_tls_key.empty() ? "http_tls_key" : "http_tls_certificate");
  }
  return queue.Validate();
}

void RouterOptions::AddTo(OptionSet& set) {
  set.Add("http", &http, {.help = "listen here for HTTP (OpenAI API, health, metrics)"});
  set.Add("grpc", &grpc, {.help = "listen here for gRPC: clients, and workers that register"});
  set.Add("models", &models,
          {.zero = "none",
           .help = "models to serve beside --model, each by workers of that name, such as "
                   "code=/models/coder: folders with tokenizer and chat template"});
  set.Add("placement", &placement,
          {.help = "policy that picks workers: cost, lowest-latency, kv-aware, "
                   "fewest-computed-tokens, least-queued, least-kv, power-of-two, round-robin, "
                   "random, session-affinity, always-local or always-remote"});
  set.Add("itl_target", &itl_target,
          {.min = 0,
           .max = 60,
           .zero = "none",
           .help = "placement by cost: only slower tokens than this harm the running requests"});
  set.Add("model_placement", &model_placement,
          {.zero = "none", .help = "models with a policy of their own, such as qwen=kv-aware"});
  set.Add("admin", &admin,
          {{"loopback", AdminAccess::kLoopback},
           {"any", AdminAccess::kAny},
           {"off", AdminAccess::kOff}},
          {.help = "who may use the admin API: callers on this machine, everybody, nobody"});
  tls.AddTo(set);
  set.Add(
      "http_tls_certificate", &http_tls_certificate,
      {.zero = "off", .help = "PEM file with the HTTP door's certificate, which makes it HTTPS"});
  set.Add("http_tls_key", &http_tls_key,
          {.zero = "off", .help = "PEM file with that certificate's key"});
  set.Add("api_keys_file", &api_keys_file,
          {.zero = "none",
           .help = "keys that clients must have, one a line with its tenant (see "
                   "docs/operations/security.md)"});
  queue.AddTo(set);
  set.Add("body_bytes_max", &body_bytes_max,
          {.flag = "--max-body", .min = 1024, .max = 1 << 30, .help = "largest request body"});
  set.Add("header_bytes_max", &header_bytes_max,
          {.flag = "--max-header", .min = 1024, .max = 1 << 20, .help = "largest HTTP header"});
  set.Add("json_depth_max", &json_depth_max,
          {.flag = "--max-json-depth", .min = 4, .max = 1024, .help = "deepest nesting of JSON"});
  set.Add("connections_max", &connections_max,
          {.flag = "--max-connections", .min = 1, .max = 1 << 20, .help = "open HTTP connections"});
  set.Add("inflight_requests_max", &inflight_requests_max,
          {.flag = "--max-inflight",
           .min = 1,
           .max = 1 << 20,
           .help = "requests under way; beyond it 429"});
  set.Add("stream_buffer_bytes_max", &stream_buffer_bytes_max,
          {.flag = "--max-stream-buffer",
           .min = 4096,
           .max = 1 << 30,
           .help = "unsent output per client; beyond it the client is cut off"});
  set.Add("header_timeout", &header_timeout,
          {.min = 0.1, .max = 3600, .help = "time for a whole request header to arrive"});
  set.Add("body_timeout", &body_timeout,
          {.min = 0.1, .max = 3600, .help = "time for a whole request body to arrive"});
  set.Add("send_timeout", &send_timeout,
          {.min = 0.1, .max = 3600, .help = "time a client may leave output unread"});
  set.Add("stream_keepalive", &stream_keepalive,
          {.min = 0.01,
           .max = 3600,
           .zero = "never",
           .help = "a comment in an SSE stream after so long a silence, for proxies on the way"});
  set.Add("request_timeout", &request_timeout,
          {.min = 0.01, .max = 86400, .zero = "none", .help = "time for a whole request"});
  set.Add("resume_timeout", &resume_timeout,
          {.min = 0,
           .max = 3600,
           .help = "time a running request whose decode worker died waits for another one"});
  set.Add("drain_timeout", &drain_timeout,
          {.min = 0, .max = 86400, .help = "time for running requests after SIGTERM"});
  set.Add("http_threads", &http_threads,
          {.min = 1, .max = 256, .help = "threads of the HTTP door"});
  set.Add("text_threads", &text_threads,
          {.min = 0, .max = 256, .zero = "auto", .help = "threads that tokenize"});
  set.Add("decisions_kept", &decisions_kept,
          {.min = 0, .max = 1 << 16, .help = "placement decisions /debug/cluster shows"});
  set.Add("ports_file", &ports_file,
          {.help = "write the bound addresses here as JSON once listening"});
  set.Add("trace_endpoint", &trace_endpoint,
          {.zero = "off",
           .help = "OpenTelemetry collector that traces of requests are sent to: grpc://HOST:PORT "
                   "or http://HOST:PORT"});
  set.Add("trace_ratio", &trace_ratio,
          {.min = 0,
           .max = 1,
           .help = "share of requests that leave a trace; a client's own trace context decides "
                   "for its request"});
  set.Add("trace_slow", &trace_slow,
          {.min = 0,
           .max = 86400,
           .zero = "off",
           .help = "requests that took longer leave a trace whatever trace_ratio; failed ones do "
                   "always"});
  set.Add("trace_slow_ttft", &trace_slow_ttft,
          {.min = 0,
           .max = 86400,
           .zero = "off",
           .help = "the same for requests whose first token took longer"});
  log.AddTo(set);
}

void WorkerOptions::AddTo(OptionSet& set) {
  set.Add("device", &device,
          {.help = "where the model runs: auto, cpu, cuda:N; auto: a GPU that fits, else the CPU"});
  set.Add(
      "tensor_parallel_size", &tensor_parallel_size,
      {.min = 1,
       .max = 64,
       .help = "devices that the model and its KV pool are divided among: cuda:N and those after "
               "it; on the CPU, groups of threads"});
  set.Add("deterministic", &deterministic,
          {.help = "on a GPU: the same bits whatever else is in the batch, as on the CPU always"});
  set.Add(
      "cuda_graphs", &cuda_graphs,
      {.help = "on a GPU: decode steps are prepared once and enqueued as one, batches filled up "
               "to one of few sizes"});
  set.Add("cuda_warpgroups", &cuda_warpgroups,
          {.help = "on a GPU that has them (sm_90): kernels on wgmma and TMA"});
  set.Add("look_ahead", &look_ahead,
          {.help = "on a GPU: it has the next decode step before the last one's tokens are known"});
  set.Add(
      "gemm", &gemm,
      {{"own", GemmBy::kOwn}, {"auto", GemmBy::kAuto}, {"cublaslt", GemmBy::kCublasLt}},
      {.help = "on a GPU: who multiplies by weights in bf16; auto: who was faster when measured"});
  set.Add(
      "gemm_cache", &gemm_cache,
      {.zero = "auto",
       .help = "folder that keeps what gemm has measured, or none; auto: the user's for caches"});
  set.Add("threads", &threads,
          {.min = 0,
           .max = 1024,
           .zero = "auto",
           .help = "threads of the CPU backend; auto: one per core"});
  set.Add("isa", &isa,
          {{"auto", Isa::kAuto},
           {"scalar", Isa::kScalar},
           {"avx2", Isa::kAvx2},
           {"avx512", Isa::kAvx512},
           {"avx512-bf16", Isa::kAvx512Bf16}},
          {.help = "instruction set of the CPU backend"});
  set.Add("block_tokens", &block_tokens,
          {.min = 16, .max = 64, .help = "tokens of one KV block: 16, 32 or 64"});
  set.Add(
      "kv_memory", &kv_memory,
      {.min = 1 << 16,
       .zero = "auto",
       .help = "memory of the KV pool; auto: a tenth of the machine's, 64MiB to 512MiB; on a GPU "
               "two fifths of what the weights leave"});
  set.Add("kv_blocks", &kv_blocks,
          {.min = 0,
           .max = 1 << 26,
           .zero = "auto",
           .help = "blocks of the KV pool, overrides kv_memory"});
  set.Add(
      "kv_spare_percent", &kv_spare_percent,
      {.min = 0,
       .max = 100,
       .zero = "off",
       .help = "spare blocks of a decode worker on the CPU, in percent of its pool: they stand in "
               "for blocks that a silent prefill worker might still write to, and take no memory "
               "before"});
  set.Add("swap_memory", &swap_memory,
          {.min = 0, .zero = "off", .help = "host memory for preempted sequences' KV"});
  set.Add("context_tokens_max", &context_tokens_max,
          {.flag = "--max-context",
           .min = 0,
           .max = 1 << 24,
           .zero = "auto",
           .help = "longest prompt plus output, in tokens; auto: what model and pool allow"});
  set.Add("prefix_cache", &prefix_cache, {.help = "reuse the KV of equal prompt beginnings"});
  set.Add("preemption", &preemption,
          {{"auto", Preemption::kAuto},
           {"recompute", Preemption::kRecompute},
           {"swap", Preemption::kSwap}},
          {.help = "how a sequence makes room; auto: whichever is estimated cheaper"});
  set.Add("batch_sequences_max", &batch_sequences_max,
          {.flag = "--max-batch-size",
           .env = "MAX_BATCH_SIZE",
           .min = 1,
           .max = 4096,
           .help = "sequences in one step"});
  set.Add("step_tokens_max", &step_tokens_max,
          {.flag = "--step-tokens",
           .min = 16,
           .max = 1 << 20,
           .help = "token budget of one step: decodes first, then prefill chunks"});
  set.Add(
      "itl_target", &itl_target,
      {.min = 0,
       .max = 60,
       .zero = "none",
       .help = "prompts beside running sequences are computed in pieces so small that these wait "
               "about this long for a token; none: in pieces of step_tokens_max"});
  set.Add("waiting_sequences_max", &waiting_sequences_max,
          {.flag = "--max-waiting-sequences",
           .min = 1,
           .max = 1 << 20,
           .help = "sequences that may queue; beyond it 429"});
  set.Add("waiting_tokens_max", &waiting_tokens_max,
          {.flag = "--max-waiting-tokens",
           .env = "MAX_WAITING_TOKENS",
           .min = 1,
           .max = 1LL << 40,
           .help = "prompt tokens that may queue; beyond it 429"});
  set.Add("grpc", &grpc, {.help = "listen here for gRPC; port 0: any free one"});
  set.Add("advertise", &advertise,
          {.zero = "auto", .help = "address others reach this worker at; auto: what grpc bound"});
  set.Add("routers", &routers,
          {.flag = "--router", .zero = "none", .help = "routers to register with, all of them"});
  set.Add("metrics", &metrics, {.zero = "off", .help = "listen here for Prometheus"});
  set.Add("worker_id", &worker_id,
          {.zero = "auto", .help = "name in the cluster; auto: role, host name and process id"});
  set.Add("ports_file", &ports_file,
          {.help = "write the bound addresses here as JSON once listening"});
  tls.AddTo(set);
  set.Add("health", &health,
          {.zero = "off",
           .help = "listen here, too, for health checks (gRPC), from before the model is loaded, "
                   "without TLS whatever tls_certificate says: for probes"});
  set.Add("startup_stall", &startup_stall,
          {.min = 0.01,
           .max = 86400,
           .help = "a start that has loaded nothing for so long says at `health` that it is not "
                   "alive"});
  set.Add("transport", &transport,
          {.help = "library that hands KV over: ucx, or nccl between GPUs"});
  set.Add("transfer_path", &transfer_path,
          {{"auto", TransferPath::kAuto},
           {"shm", TransferPath::kSharedMemory},
           {"tcp", TransferPath::kTcp}},
          {.help = "how KV travels; auto: shared memory on one host, else TCP"});
  set.Add("checksums", &checksums, {.help = "verify every KV block that arrives"});
  set.Add("lease", &lease,
          {.min = 0.05,
           .max = 600,
           .help = "a prefill worker that is silent for longer loses its hand-over"});
  set.Add("heartbeat", &heartbeat,
          {.min = 0.01, .max = 60, .help = "longest pause between load reports"});
  set.Add("drain_timeout", &drain_timeout,
          {.min = 0, .max = 86400, .help = "time for running requests after SIGTERM"});
  log.AddTo(set);
}

absl::Status WorkerOptions::Validate(std::string_view section) const {
  RETURN_IF_ERROR(tls.Validate(section));
  if (block_tokens != 16 && block_tokens != 32 && block_tokens != 64) {
    return InvalidArgument("{}.block_tokens must be 16, 32 or 64, got {}", section, block_tokens);
  }
  if (transport != "ucx" && transport != "nccl") {
    return InvalidArgument("{}.transport must be ucx or nccl, got '{}'", section, transport);
  }
  if (deterministic && gemm == GemmBy::kCublasLt) {
    return InvalidArgument(
        "{}.gemm must be own or auto (which is own then) with deterministic, got cublaslt: its "
        "sums may depend on the batch",
        section);
  }
  if (step_tokens_max < batch_sequences_max) {
    return InvalidArgument(
        "{}.step_tokens_max must be at least batch_sequences_max (a token for each sequence), got "
        "{} "
        "for {}",
        section, step_tokens_max, batch_sequences_max);
  }
  return absl::OkStatus();
}

std::string WorkerOptions::gemm_cache_folder() const {
  if (gemm_cache == "none") return "";
  if (!gemm_cache.empty()) return gemm_cache;
  const auto from = [](const char* variable, const char* below) {
    const char* folder = std::getenv(variable);
    // What is not absolute is to be ignored, as the rules of these variables say.
    return folder != nullptr && *folder == '/' ? std::string(folder) + below : "";
  };
  const std::string folder = from("XDG_CACHE_HOME", "/baton");
  return !folder.empty() ? folder : from("HOME", "/.cache/baton");
}

Bytes WorkerOptions::kv_memory_or_default() const {
  return kv_memory.count > 0 ? kv_memory : DefaultKvMemory();
}

Bytes DefaultKvMemory() {
  const int64_t machine = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  return {std::clamp(machine / 10, MiB(64).count, MiB(512).count)};
}

void UpOptions::AddTo(OptionSet& set) {
  set.Add("prefill", &prefill, {.min = 0, .max = 64, .help = "prefill workers"});
  set.Add("decode", &decode, {.min = 1, .max = 64, .help = "decode workers"});
  set.Add("device", &device, {.help = "where the workers run the model: auto, cpu, cuda:N"});
  set.Add("threads_per_worker", &threads_per_worker,
          {.min = 0, .max = 1024, .zero = "auto", .help = "auto: cores / workers, at least one"});
  set.Add("ready_timeout", &ready_timeout,
          {.min = 1, .max = 86400, .help = "time for the cluster to be ready at first"});
  set.Add("drain_timeout", &drain_timeout,
          {.min = 0, .max = 86400, .help = "time for running requests after Ctrl-C, then SIGKILL"});
  set.Add("restart_delay_min", &restart_delay_min,
          {.min = 0.01,
           .max = 3600,
           .help = "pause before a restart; doubles with every death in a row"});
  set.Add("restart_delay_max", &restart_delay_max,
          {.min = 0.01, .max = 3600, .help = "longest pause before a restart"});
  set.Add("status_interval", &status_interval,
          {.min = 0.1, .max = 3600, .help = "between status lines when not on a terminal"});
  set.Add("runtime_dir", &runtime_dir,
          {.zero = "auto", .help = "folder for logs; auto: a private one, removed at the end"});
  set.Add("demo", &demo, {.help = "ask this once ready and stream the answer"});
  set.Add("exit_after_demo", &exit_after_demo,
          {.help = "stop when the demo is answered", .bare = true});
}

ClusterOptions::ClusterOptions()
    : schema_{&model_set_, &router_set_, &prefill_set_, &decode_set_, &planner_set_, &up_set_} {
  model.AddTo(model_set_);
  router.AddTo(router_set_);
  prefill.AddTo(prefill_set_);
  decode.AddTo(decode_set_);
  planner.AddTo(planner_set_);
  up.AddTo(up_set_);
}

OptionSet& ClusterOptions::section(std::string_view name) const {
  for (OptionSet* set : schema_) {
    if (set->section() == name) return *set;
  }
  CHECK(false, "no section '{}'", name);
}

}  // namespace baton::config

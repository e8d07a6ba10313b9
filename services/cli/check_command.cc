#include "services/cli/check_command.h"

#include <unistd.h>

#include <algorithm>

#include "common/config/command_line.h"
#include "common/model/hf_config.h"
#include "common/model/kv_dtype.h"
#include "common/model/quantize.h"
#include "common/model/shard.h"
#include "common/model/weights.h"
#include "services/cli/up/launch_plan.h"

namespace baton::cli {
namespace {

// The type the weights will have, and the KV unless it was given its own. `auto` follows
// config.json; the weights' own type may still decide otherwise at load.
kernels::DType DtypeOf(const config::ModelOptions& model, const model::HfConfig& hf) {
  if (model.dtype == config::Dtype::kF32) return kernels::DType::kF32;
  if (model.dtype == config::Dtype::kBf16) return kernels::DType::kBF16;
  return hf.dtype == kernels::DType::kF32 ? kernels::DType::kF32 : kernels::DType::kBF16;
}

kernels::DType KvDtypeOf(const config::ModelOptions& model, const model::HfConfig& hf) {
  return model::KvDTypeOf(model.kv_dtype).value_or(DtypeOf(model, hf));
}

std::string Line(const std::string& what, const std::string& value) {
  return fmt::format("  {:<28} {}\n", what, value);
}

std::string ModelText(const config::ClusterOptions& options, const model::HfConfig& hf) {
  const kernels::DType dtype = DtypeOf(options.model, hf);
  const auto quantized = model::QuantizeOf(options.model.quantize);
  const int64_t weights =
      model::WeightBytes(hf, model::ShardOf(hf, 0, 1), model::WeightTypesOf(dtype, quantized));
  return fmt::format("\nModel '{}'\n", options.model.served_name()) +
         Line("family", std::string(model::NameOf(hf.family))) +
         Line("parameters",
              fmt::format("{:.1f} M", static_cast<double>(hf.num_parameters()) / 1e6)) +
         Line("dtype", std::string(kernels::NameOf(dtype))) +
         (quantized ? Line("quantize", std::string(kernels::NameOf(*quantized))) : "") +
         Line("KV dtype", std::string(kernels::NameOf(KvDtypeOf(options.model, hf)))) +
         Line("weights per worker", config::RoundedBytesText(weights)) +
         Line("context of the model", fmt::format("{} tokens", hf.max_positions));
}

// What one worker's KV options come to. Errors when the pool is too small for anything.
absl::StatusOr<std::string> WorkerText(const std::string& section,
                                       const config::WorkerOptions& worker,
                                       const config::ModelOptions& model,
                                       const model::HfConfig& hf) {
  RETURN_IF_ERROR(Annotate(model::CheckTensorParallel(hf, worker.tensor_parallel_size), section));
  const int64_t block_bytes = model::KvBlockBytes(hf, worker.tensor_parallel_size,
                                                  KvDtypeOf(model, hf), worker.block_tokens);
  const int64_t token_bytes = block_bytes / worker.block_tokens;
  const int64_t memory = worker.kv_memory_or_default().count;
  const int64_t blocks = worker.kv_blocks > 0 ? worker.kv_blocks : memory / block_bytes;
  if (blocks < 2) {
    return InvalidArgument("{}.kv_memory of {} holds {} KV blocks of {}; at least 2 are needed",
                           section, config::BytesText({memory}), blocks,
                           config::RoundedBytesText(block_bytes));
  }
  const int64_t pool_tokens = blocks * worker.block_tokens;
  int64_t context = std::min<int64_t>(hf.max_positions, pool_tokens);
  if (worker.context_tokens_max > 0)
    context = std::min<int64_t>(context, worker.context_tokens_max);
  const int64_t swap_blocks = worker.swap_memory.count / block_bytes;
  return fmt::format("\n{} worker\n", section) +
         Line("tensor-parallel ranks", fmt::format("{}", worker.tensor_parallel_size)) +
         Line("KV per token", config::RoundedBytesText(token_bytes)) +
         Line("KV block", fmt::format("{} tokens, {}", worker.block_tokens,
                                      config::RoundedBytesText(block_bytes))) +
         Line("KV pool at most", fmt::format("{} blocks, {} tokens, {}", blocks, pool_tokens,
                                             config::RoundedBytesText(blocks * block_bytes))) +
         Line("longest context", fmt::format("{} tokens", context)) +
         Line("full-length sequences",
              fmt::format("{:.1f} at once",
                          static_cast<double>(pool_tokens) / static_cast<double>(context))) +
         Line("swap space", fmt::format("{} blocks", swap_blocks));
}

absl::StatusOr<std::string> Implications(const config::ClusterOptions& options) {
  RETURN_IF_ERROR(options.router.Validate());
  RETURN_IF_ERROR(options.prefill.Validate("prefill"));
  RETURN_IF_ERROR(options.decode.Validate("decode"));
  std::string text;
  if (options.model.path.empty()) {
    text += "\nNo model given: --model PATH or model.path tells what KV blocks come to.\n";
  } else {
    RETURN_IF_ERROR(options.model.Validate());
    ASSIGN_OR_RETURN(const model::HfConfig hf, model::ReadHfConfig(options.model.path));
    ASSIGN_OR_RETURN(const std::string prefill,
                     WorkerText("prefill", options.prefill, options.model, hf));
    ASSIGN_OR_RETURN(const std::string decode,
                     WorkerText("decode", options.decode, options.model, hf));
    text += ModelText(options, hf) + prefill + decode;
  }
  const int cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  text += "\nbaton up\n" +
          Line("processes", fmt::format("1 router, {} prefill, {} decode", options.up.prefill,
                                        options.up.decode)) +
          Line("threads per worker",
               fmt::format("{} of {} cores", ThreadsPerWorker(options.up, cores), cores));
  return text;
}

}  // namespace

int CheckCommand(int argc, const char* const* argv) {
  const config::Program program{
      .name = "baton check",
      .about = "Shows the configuration that baton up would run with, and what it implies.",
      .examples = "  baton check --config cluster.yaml\n  baton check --model models/baton-demo\n",
      .sections = {"model", "up"},
      .extras = {"router.http", "router.grpc", "router.placement"}};
  config::ClusterOptions options;
  if (auto exit =
          config::ParseCommandLine(program, argc, argv, config::ProcessEnvironment(), options)) {
    return config::Leave(*exit);
  }
  std::vector<const config::OptionSet*> sets(options.schema().begin(), options.schema().end());
  fmt::print("{}", config::EffectiveText(sets));
  const absl::StatusOr<std::string> implications = Implications(options);
  if (!implications.ok()) {
    fmt::print(stderr, "baton check: {}\n", MessageOf(implications.status()));
    return config::kExitConfig;
  }
  fmt::print("{}", *implications);
  return 0;
}

}  // namespace baton::cli

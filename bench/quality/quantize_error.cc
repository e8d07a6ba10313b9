// What quantized weights cost in precision: the same model and text with weights in f32 and in
// everything else that they can be kept in, logits compared at every position. KV is f32
// throughout.
//
//   quantize_error --model FOLDER --text FILE [--dtype f32|bf16] [--context N] [--reference]
//
// `--dtype` is what quantized weights start from, and their embedding's type. The text is cut into
// windows of N tokens, each a sequence of its own. Prints, per kind: the distance of logits over
// the length of f32's, root mean square and worst position; how often both have the same likeliest
// token; perplexity.
#include <optional>

#include "bench/quality/logit_error.h"
#include "fmt/format.h"

namespace baton::bench {
namespace {

using kernels::DType;

struct Kind {
  const char* name;
  model::WeightDType dtype;
  std::optional<DType> quantize;
};

absl::Status Run(const absl::StatusOr<QualityOptions>& options) {
  RETURN_IF_ERROR(options.status());
  model::LoadOptions load;
  load.kv_dtype = DType::kF32;
  load.dtype = model::WeightDType::kF32;
  ASSIGN_OR_RETURN(Yardstick yardstick, Yardstick::Load(*options, load));
  fmt::print("{} tokens of {} in windows of {}\n\n", yardstick.num_tokens(), options->text,
             options->context);
  fmt::print("| weights {}\n| --- | --- | --- | --- | --- |\n", kLogitErrorColumns);
  const Kind kinds[] = {{"f32", model::WeightDType::kF32, std::nullopt},
                        {"bf16", model::WeightDType::kBF16, std::nullopt},
                        {"int8", options->dtype, DType::kInt8},
                        {"int4-g32", options->dtype, DType::kInt4G32},
                        {"int4-g64", options->dtype, DType::kInt4G64},
                        {"int4-g128", options->dtype, DType::kInt4G128}};
  for (const Kind& kind : kinds) {
    load.dtype = kind.dtype;
    load.quantize = kind.quantize;
    ASSIGN_OR_RETURN(const auto subject, Subject::Load(*options, load));
    fmt::print("| {} {}\n", kind.name, TextOf(yardstick.Measure(*subject)));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  using namespace baton::bench;
  return ExitCode("quantize_error", Run(ParseQualityOptions(argc, argv)));
}

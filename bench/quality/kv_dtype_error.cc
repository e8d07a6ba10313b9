// What a type of the KV cache costs in precision: the same model and text with KV in f32 and in
// every other type, logits compared at every position.
//
//   kv_dtype_error --model FOLDER --text FILE [--dtype f32|bf16] [--context N] [--reference]
//
// The text is cut into windows of N tokens, each a sequence of its own. Prints, per type: bytes of
// KV a token; the distance of logits over the length of f32's, root mean square and worst position;
// how often both have the same likeliest token; perplexity.
#include "bench/quality/logit_error.h"
#include "fmt/format.h"

namespace baton::bench {
namespace {

using kernels::DType;

absl::Status Run(const absl::StatusOr<QualityOptions>& options) {
  RETURN_IF_ERROR(options.status());
  model::LoadOptions load;
  load.dtype = options->dtype;
  load.kv_dtype = DType::kF32;
  ASSIGN_OR_RETURN(Yardstick yardstick, Yardstick::Load(*options, load));
  fmt::print("{} tokens of {} in windows of {}\n\n", yardstick.num_tokens(), options->text,
             options->context);
  fmt::print("| KV | bytes a token {}\n| --- | --- | --- | --- | --- | --- |\n",
             kLogitErrorColumns);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kFp8, DType::kInt8}) {
    load.kv_dtype = dtype;
    ASSIGN_OR_RETURN(const auto subject, Subject::Load(*options, load));
    fmt::print("| {} | {} {}\n", NameOf(dtype), subject->kv_token_bytes(),
               TextOf(yardstick.Measure(*subject)));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  using namespace baton::bench;
  return ExitCode("kv_dtype_error", Run(ParseQualityOptions(argc, argv)));
}

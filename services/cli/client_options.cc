#include "services/cli/client_options.h"

namespace baton::cli {

void ClientOptions::AddTo(config::OptionSet& set) {
  set.Add("grpc", &grpc, {.help = "gRPC door of the cluster"});
  set.Add("model", &model, {.help = "served name; default: the only one that is served"});
  door.AddKeyTo(set);
  door.AddGrpcTo(set);
}

void SamplingOptions::AddTo(config::OptionSet& set) {
  set.Add("temperature", &temperature,
          {.min = -1, .max = 2, .help = "0: always the likeliest token; -1: the server's default"});
  set.Add("top_p", &top_p,
          {.min = -1,
           .max = 1,
           .help = "smallest set of tokens that reaches this probability; -1: default"});
  set.Add("max_tokens", &max_tokens,
          {.min = 0, .max = 1 << 24, .zero = "auto", .help = "output tokens at most"});
  set.Add("seed", &seed, {.min = -1, .help = "the same seed gives the same text; -1: drawn"});
}

sdk::Sampling SamplingOptions::ToSampling() const {
  sdk::Sampling sampling;
  if (temperature >= 0) sampling.set_temperature(static_cast<float>(temperature));
  if (top_p >= 0) sampling.set_top_p(static_cast<float>(top_p));
  if (max_tokens > 0) sampling.set_max_tokens(max_tokens);
  if (seed >= 0) sampling.set_seed(static_cast<uint64_t>(seed));
  return sampling;
}

}  // namespace baton::cli

#pragma once

#include <string>

#include "absl/time/time.h"
#include "baton/request.h"
#include "common/config/option_set.h"
#include "services/cli/door_options.h"

namespace baton::cli {

// Where the cluster is. The same for every command that talks to one.
struct ClientOptions {
  config::Address grpc{"127.0.0.1", 9000};
  std::string model;  // empty: the only one served
  DoorOptions door;
  void AddTo(config::OptionSet& set);
};

// How an answer is chosen, as flags. Negative: the server's default.
struct SamplingOptions {
  double temperature = -1;
  double top_p = -1;
  int32_t max_tokens = 0;
  int64_t seed = -1;
  void AddTo(config::OptionSet& set);
  sdk::Sampling ToSampling() const;
};

}  // namespace baton::cli

#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "common/model/load_model.h"
#include "common/model/weights.h"

namespace baton::model {

// A view of the weights for one rank alone: sources are used by one thread each, and files that are
// mapped several times are in memory once.
using OpenWeights = std::function<absl::StatusOr<std::unique_ptr<WeightSource>>()>;

// Each rank's part of the weights, in the order of `ranks`, all read at the same time: every device
// has a bus of its own, and what one rank has brought into the page cache the others find there.
// `progress` is of all ranks together and is called by one thread at a time. Of several errors the
// lowest rank's is returned.
absl::StatusOr<std::vector<Weights>> LoadRanks(const HfConfig& config, const WeightTypes& types,
                                               std::span<const RankDevice> ranks,
                                               const OpenWeights& open,
                                               const LoadProgress& progress);

}  // namespace baton::model

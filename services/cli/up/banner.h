#pragma once

#include <string>

#include "absl/time/time.h"
#include "baton/client.h"
#include "common/config/address.h"
#include "common/config/cluster_options.h"
#include "services/cli/up/cluster_view.h"

// The words of `baton up`.
namespace baton::cli {

// What a user needs once the cluster is ready: addresses, a curl to paste, where the logs are.
std::string Banner(const config::ClusterOptions& options, const config::Address& http,
                   const config::Address& grpc, const std::string& log_dir, absl::Duration took);

// "12 requests  TTFT p50 8.1 ms  ITL p50 1.2 ms"
std::string RouterFigures(const ClusterView& view);
// "KV 3.1 MiB handed over  1204 tokens in  340 out  2 running  0 waiting"
std::string WorkerFigures(const WorkerView& worker, bool prefill);

// Streams one chat answer to stdout, with its figures. False (and a message) when it failed.
bool RunDemo(const std::string& grpc_address, const sdk::ClientOptions& door,
             const std::string& model, const std::string& question);

}  // namespace baton::cli

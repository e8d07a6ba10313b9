#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "baton/v1/device.pb.h"
#include "common/base/status.h"

namespace baton::cli {

// A clock beside ours: how far it is ahead, give or take.
struct ClockOffset {
  absl::Duration ahead;
  absl::Duration give_or_take;
};

// From one question and its answer: it was given at some time between the two. All on our clock but
// `theirs`.
ClockOffset OffsetOf(absl::Time asked, absl::Time answered, absl::Time theirs);

// One worker as the router knows it, and what it said of itself.
struct WorkerPicture {
  std::string id;
  bool is_decode = false;
  std::string model;
  std::string address;  // host:port of its gRPC services
  std::string fingerprint;
  bool reachable = true;
  bool suspect = false;
  bool draining = false;

  absl::Status examined;  // why it did not say more
  std::string version;
  std::string host_id;
  std::string token_fingerprint;
  std::string transport;
  std::string transfer_path;
  std::vector<std::string> rdma_devices;
  v1::ComputeDevice device;
  ClockOffset clock;
};

// From a prefill worker to a decode worker.
struct PathPicture {
  size_t prefill = 0;  // index of the worker
  size_t decode = 0;
  absl::Status probed;
  std::string path;  // "shared memory", "tcp"
  uint64_t round_bytes = 0;
  std::vector<double> round_ms;
  double round_trip_ms = 0;
  bool intact = true;

  // Of the median round and of the quickest; 0 when nothing was measured.
  double gigabytes_per_second() const;
  double best_gigabytes_per_second() const;
};

// All that `baton doctor` has found out.
struct ClusterPicture {
  std::string router_version;
  std::optional<ClockOffset> router_clock;
  std::vector<WorkerPicture> workers;
  std::vector<PathPicture> paths;

  // Whether KV ever travels this way: same model, same fingerprint.
  bool ArePaired(const WorkerPicture& prefill, const WorkerPicture& decode) const {
    return prefill.model == decode.model && prefill.fingerprint == decode.fingerprint;
  }
};

// From the router's /debug/cluster; workers are not examined, paths not probed. UNAVAILABLE when it
// is no such page.
absl::StatusOr<ClusterPicture> ReadClusterPage(const std::string& json, absl::Time asked,
                                               absl::Time answered);

}  // namespace baton::cli

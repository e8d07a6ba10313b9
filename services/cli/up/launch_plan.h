#pragma once

#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/config/address.h"
#include "common/config/cluster_options.h"

namespace baton::cli {

// How each process of a local cluster is started: its argv. Everything a child needs travels as
// flags, so that it neither reads the cluster file nor depends on the environment.
class LaunchPlan {
 public:
  // `options` is adjusted in place: device, threads, log format, worker addresses. It must outlive
  // the plan. `bin_dir` holds the programs.
  LaunchPlan(config::ClusterOptions& options, std::string bin_dir, std::string runtime_dir);

  // NOT_FOUND naming the program that is not there.
  absl::Status CheckPrograms() const;

  // Ports are the ones bound at the first start when any free port was asked for.
  std::vector<std::string> Router(const config::Address& http, const config::Address& grpc) const;
  std::vector<std::string> Worker(const std::string& section, const std::string& name,
                                  const config::Address& router) const;
  std::string PortsFile(const std::string& name) const {
    return runtime_dir_ + "/" + name + ".ports";
  }

 private:
  std::string Program(const std::string& name) const { return bin_dir_ + "/" + name; }

  config::ClusterOptions& options_;
  const std::string bin_dir_;
  const std::string runtime_dir_;
};

// Threads of each worker: what was asked for, else the cores shared out.
int ThreadsPerWorker(const config::UpOptions& up, int cores);

// Whether somebody could listen there now. UNAVAILABLE naming `flag` and the address otherwise.
absl::Status CheckCanListen(const config::Address& address, const std::string& flag);

}  // namespace baton::cli

#include "services/cli/up/launch_plan.h"

#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

namespace baton::cli {
namespace {

// One section's flags without those that the supervisor sets itself.
void AppendSection(std::vector<std::string>& argv, const config::OptionSet& set,
                   const std::vector<std::string>& own) {
  for (const std::string& flag : set.AsFlags()) {
    const std::string name = flag.substr(0, flag.find('='));
    if (std::find(own.begin(), own.end(), name) == own.end()) argv.push_back(flag);
  }
}

}  // namespace

int ThreadsPerWorker(const config::UpOptions& up, int cores) {
  if (up.threads_per_worker > 0) return up.threads_per_worker;
  return std::max(1, cores / std::max(1, up.prefill + up.decode));
}

LaunchPlan::LaunchPlan(config::ClusterOptions& options, std::string bin_dir,
                       std::string runtime_dir)
    : options_(options), bin_dir_(std::move(bin_dir)), runtime_dir_(std::move(runtime_dir)) {
  const int threads =
      ThreadsPerWorker(options_.up, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
  for (config::WorkerOptions* worker : {&options_.prefill, &options_.decode}) {
    if (options_.up.device != config::Device{}) worker->device = options_.up.device;
    if (worker->threads == 0) worker->threads = threads;
  }
}

absl::Status LaunchPlan::CheckPrograms() const {
  for (const char* name : {"baton-router", "baton-prefill-worker", "baton-decode-worker"}) {
    if (access(Program(name).c_str(), X_OK) != 0) {
      return NotFound("{}: {} (it belongs beside the baton program)", Program(name),
                      strerror(errno));
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> LaunchPlan::Router(const config::Address& http,
                                            const config::Address& grpc) const {
  std::vector<std::string> argv = {Program("baton-router"), "--http=" + http.text(),
                                   "--grpc=" + grpc.text(), "--ports-file=" + PortsFile("router"),
                                   "--log-format=json"};
  AppendSection(argv, options_.section("model"), {});
  AppendSection(argv, options_.section("router"),
                {"--http", "--grpc", "--ports-file", "--log-format"});
  return argv;
}

std::vector<std::string> LaunchPlan::Worker(const std::string& section, const std::string& name,
                                            const config::Address& router) const {
  std::vector<std::string> argv = {Program("baton-" + section + "-worker"),
                                   "--worker-id=" + name,
                                   "--router=" + router.text(),
                                   "--grpc=127.0.0.1:0",
                                   "--ports-file=" + PortsFile(name),
                                   "--log-format=json"};
  AppendSection(argv, options_.section("model"), {});
  AppendSection(
      argv, options_.section(section),
      {"--worker-id", "--router", "--grpc", "--ports-file", "--log-format", "--advertise"});
  return argv;
}

absl::Status CheckCanListen(const config::Address& address, const std::string& flag) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  const std::string port = std::to_string(address.port);
  if (const int error = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found)) {
    return InvalidArgument("{} {}: {}", flag, address.text(), gai_strerror(error));
  }
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const int result = bind(fd, found->ai_addr, found->ai_addrlen);
  const int error = errno;
  close(fd);
  freeaddrinfo(found);
  if (result == 0) return absl::OkStatus();
  return Unavailable("{} {}: {} (port 0 takes any free one)", flag, address.text(),
                     strerror(error));
}

}  // namespace baton::cli

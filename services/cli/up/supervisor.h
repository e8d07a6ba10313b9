#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "common/base/status.h"
#include "common/config/cluster_options.h"
#include "services/cli/door_options.h"
#include "services/cli/up/board.h"
#include "services/cli/up/cluster_view.h"
#include "services/cli/up/launch_plan.h"
#include "services/cli/up/process.h"
#include "services/cli/up/runtime_dir.h"

namespace baton::cli {

// Runs a whole cluster: one router, its workers, until told to stop.
//
//   starting --all attached--> serving --SIGINT/SIGTERM--> draining router --gone--> draining
//   workers
//
// A process that dies is started again with back-off; one that dies of its configuration before it
// was ever ready ends the whole. A second signal kills at once. Everything is on the thread that
// calls Run(), which must be the main thread: the children live as long as it.
class Supervisor {
 public:
  // SIGINT, SIGTERM and SIGCHLD must be blocked already in every thread.
  Supervisor(config::ClusterOptions& options, LaunchPlan plan, RuntimeDir& dir, bool terminal);
  ~Supervisor();

  // The process's exit code. Nothing of the cluster is left when it returns.
  int Run();

 private:
  enum class Phase { kStarting, kServing, kDrainingRouter, kDrainingWorkers };

  bool draining() const { return phase_ >= Phase::kDrainingRouter; }
  Process& router() { return *processes_.front(); }

  // One turn of the loop.
  void Wait();
  void TakeSignals();
  void TakeOutput();
  void TakeDeaths();
  void StartWhatIsDue();
  http::Door HttpDoorOfRouter() const;
  sdk::ClientOptions GrpcDoorOfRouter() const;
  static bool IsReady(const Process& process, const ClusterView& view);
  void LookAtCluster();
  void Draw(bool urgent);

  void LearnPorts();
  void OnDeath(Process& process, const ExitState& exit);
  void OnReady();
  void StartDemo();
  void EndDemo();
  // Ends everything with this exit code.
  void Fail(int code, const std::string& message);
  void BeginDrain();
  void DrainWorkers();
  void KillAll();
  bool AllGone() const;
  std::string LineOf(const Process& process, const ClusterView& view) const;

  config::ClusterOptions& options_;
  const LaunchPlan plan_;
  RuntimeDir& dir_;
  Board board_;
  int signal_fd_;
  int wake_fd_;
  std::unique_ptr<ClusterWatch> watch_;
  std::vector<std::unique_ptr<Process>> processes_;  // the router first
  Phase phase_ = Phase::kStarting;
  absl::Time begun_at_;
  absl::Time kill_at_ = absl::InfiniteFuture();
  config::Address http_, grpc_;  // as bound, once known
  bool ports_known_ = false;
  bool board_hidden_ = false;  // somebody else writes to the terminal
  int exit_code_ = 0;
  std::thread demo_;
  std::atomic<bool> demo_done_{false};
  std::atomic<bool> demo_failed_{false};
};

}  // namespace baton::cli

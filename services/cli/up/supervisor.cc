#include "services/cli/up/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "baton/client.h"
#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/config/command_line.h"
#include "common/config/units.h"
#include "nlohmann/json.hpp"
#include "services/cli/up/banner.h"

namespace baton::cli {
namespace {

constexpr int kDeathsBeforeReadyMax = 5;
constexpr absl::Duration kLookWhileStarting = absl::Milliseconds(50);
constexpr absl::Duration kLookWhileServing = absl::Seconds(1);
constexpr absl::Duration kGraceBeforeReady = absl::Seconds(2);

sigset_t OurSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&set, signal);
  return set;
}

// Only differences count: on a clock that nobody sets.
absl::Time SteadyNow() { return absl::UnixEpoch() + Clock::Real().Monotonic(); }

std::string Indented(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += "\n    " + line;
  return text;
}

}  // namespace

Supervisor::Supervisor(config::ClusterOptions& options, LaunchPlan plan, RuntimeDir& dir,
                       bool terminal)
    : options_(options),
      plan_(std::move(plan)),
      dir_(dir),
      board_(terminal, options.up.status_interval),
      begun_at_(SteadyNow()) {
  const sigset_t signals = OurSignals();
  signal_fd_ = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
  wake_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  CHECK(signal_fd_ >= 0 && wake_fd_ >= 0, "no file descriptors: {}", strerror(errno));
  watch_ = std::make_unique<ClusterWatch>(wake_fd_);
  auto add = [&](Role role, const std::string& name) {
    processes_.push_back(std::make_unique<Process>(
        role, name, dir_.File(name + ".log"),
        Backoff(options_.up.restart_delay_min, options_.up.restart_delay_max)));
  };
  add(Role::kRouter, "router");
  for (int i = 0; i < options_.up.prefill; ++i) add(Role::kPrefill, fmt::format("prefill-{}", i));
  for (int i = 0; i < options_.up.decode; ++i) add(Role::kDecode, fmt::format("decode-{}", i));
}

Supervisor::~Supervisor() {
  EndDemo();
  watch_.reset();
  processes_.clear();  // kills what is left, by then nothing
  close(signal_fd_);
  close(wake_fd_);
}

int Supervisor::Run() {
  http_ = options_.router.http;
  grpc_ = options_.router.grpc;
  ports_known_ = http_.port != 0 && grpc_.port != 0;
  router().StartAt(begun_at_);
  if (ports_known_) watch_->Watch(HttpDoorOfRouter(), kLookWhileStarting);
  for (auto& process : processes_) process->StartAt(begun_at_);
  for (;;) {
    StartWhatIsDue();
    Wait();
    TakeSignals();
    TakeOutput();
    TakeDeaths();
    if (draining()) {
      if (phase_ == Phase::kDrainingRouter && !router().running()) DrainWorkers();
      if (SteadyNow() >= kill_at_) KillAll();
      if (AllGone()) break;
      continue;
    }
    LookAtCluster();
    Draw(/*urgent=*/false);
  }
  board_.Draw({}, SteadyNow(), false);
  return exit_code_;
}

void Supervisor::Wait() {
  absl::Time until = SteadyNow() + absl::Milliseconds(500);  // the clock in the moving lines
  until = std::min(until, kill_at_);
  if (!ports_known_) until = std::min(until, SteadyNow() + absl::Milliseconds(20));
  std::vector<pollfd> entries = {{signal_fd_, POLLIN, 0}, {wake_fd_, POLLIN, 0}};
  for (auto& process : processes_) {
    if (process->output_fd() >= 0) entries.push_back({process->output_fd(), POLLIN, 0});
    if (process->start_at() && (ports_known_ || process->role() == Role::kRouter)) {
      until = std::min(until, *process->start_at());
    }
  }
  const absl::Duration pause = std::max(until - SteadyNow(), absl::ZeroDuration());
  poll(entries.data(), entries.size(), static_cast<int>(absl::ToInt64Milliseconds(pause)) + 1);
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = read(wake_fd_, &count, sizeof count);
}

void Supervisor::TakeSignals() {
  signalfd_siginfo info;
  while (read(signal_fd_, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGCHLD) continue;
    if (!draining()) {
      BeginDrain();
    } else {
      board_.Say("Stopping at once.");
      KillAll();
    }
  }
}

void Supervisor::TakeOutput() {
  for (auto& process : processes_) process->ReadOutput();
}

void Supervisor::TakeDeaths() {
  for (auto& process : processes_) {
    const std::optional<ExitState> exit = process->Reap();
    if (exit && !draining()) OnDeath(*process, *exit);
  }
}

void Supervisor::OnDeath(Process& process, const ExitState& exit) {
  const std::string words = Indented(process.LastWords());
  const bool hopeless = exit.code == config::kExitUsage || exit.code == config::kExitConfig;
  if (!process.ever_ready() && hopeless) {
    return Fail(exit.code, fmt::format("{} cannot start:{}", process.name(), words));
  }
  const absl::Duration pause = process.PlanRestart(SteadyNow());
  if (!process.ever_ready() && process.backoff().deaths_in_a_row() >= kDeathsBeforeReadyMax) {
    return Fail(1, fmt::format("{} {} {} times in a row and was never ready:{}", process.name(),
                               exit.text(), kDeathsBeforeReadyMax, words));
  }
  if (exit.code == 0) {  // somebody asked it to
    return board_.Say(fmt::format("{} has drained and left; starting it again in {}",
                                  process.name(), config::DurationText(pause)));
  }
  board_.Say(fmt::format("{} {}; starting it again in {}{}", process.name(), exit.text(),
                         config::DurationText(pause), words));
}

void Supervisor::StartWhatIsDue() {
  if (draining()) return;
  LearnPorts();
  const absl::Time now = SteadyNow();
  for (auto& process : processes_) {
    if (!process->start_at() || *process->start_at() > now) continue;
    const bool is_router = process->role() == Role::kRouter;
    if (!is_router && !ports_known_) continue;
    if (is_router) unlink(plan_.PortsFile("router").c_str());
    const std::string section = process->role() == Role::kPrefill ? "prefill" : "decode";
    const absl::Status status = process->Start(
        is_router ? plan_.Router(http_, grpc_) : plan_.Worker(section, process->name(), grpc_),
        now);
    if (!status.ok()) return Fail(1, MessageOf(status));
  }
}

// With port 0 the router says what it got; later lives of it get the same.
void Supervisor::LearnPorts() {
  if (ports_known_) return;
  std::ifstream file(plan_.PortsFile("router"));
  if (!file) return;
  const auto ports = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!ports.is_object() || !ports.contains("http") || !ports.contains("grpc")) return;
  const auto http = config::ParseAddress(ports["http"].get<std::string>());
  const auto grpc = config::ParseAddress(ports["grpc"].get<std::string>());
  if (!http.ok() || !grpc.ok()) return;
  http_ = *http;
  grpc_ = *grpc;
  ports_known_ = true;
  watch_->Watch(HttpDoorOfRouter(), kLookWhileStarting);
}

// This machine's own router: what it was given is what it shows.
http::Door Supervisor::HttpDoorOfRouter() const {
  return {.address = http_,
          .api_key = "",
          .tls_ca = options_.router.http_tls_certificate,
          .any_name = true};
}

sdk::ClientOptions Supervisor::GrpcDoorOfRouter() const {
  const DoorOptions door{.api_key = "", .tls_ca = options_.router.tls.ca, .http_tls_ca = ""};
  return door.Grpc().value_or(sdk::ClientOptions{});  // the router has read the same file
}

bool Supervisor::IsReady(const Process& process, const ClusterView& view) {
  if (process.role() == Role::kRouter) return view.live;
  const auto found = view.workers.find(process.name());
  if (found == view.workers.end()) return false;
  // A link that breaks for a moment makes no worker unready.
  return process.ready() || found->second.reachable;
}

void Supervisor::LookAtCluster() {
  const ClusterView view = watch_->view();
  bool all = view.ready, changed = false;
  for (auto& process : processes_) {
    const bool ready = process->running() && IsReady(*process, view);
    changed = changed || ready != process->ready();
    process->MarkReady(ready);
    all = all && ready;
  }
  if (changed) Draw(/*urgent=*/true);
  if (phase_ == Phase::kStarting && all) return OnReady();
  if (phase_ == Phase::kStarting && SteadyNow() - begun_at_ > options_.up.ready_timeout) {
    return Fail(1, fmt::format("not ready within --ready-timeout {}",
                               config::DurationText(options_.up.ready_timeout)));
  }
  if (demo_done_ && demo_.joinable()) EndDemo();
}

void Supervisor::OnReady() {
  phase_ = Phase::kServing;
  watch_->Watch(HttpDoorOfRouter(), kLookWhileServing);
  board_.Clear();
  board_.Say(Banner(options_, http_, grpc_, dir_.path(), SteadyNow() - begun_at_));
  if (!options_.up.demo.empty()) StartDemo();
}

void Supervisor::StartDemo() {
  board_.Draw({}, SteadyNow(), false);
  board_hidden_ = true;
  demo_ = std::thread([this, address = grpc_.text()] {
    demo_failed_ =
        !RunDemo(address, GrpcDoorOfRouter(), options_.model.served_name(), options_.up.demo);
    demo_done_ = true;
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof one);
  });
}

void Supervisor::EndDemo() {
  if (!demo_.joinable()) return;
  demo_.join();
  board_hidden_ = false;
  if (!options_.up.exit_after_demo || draining()) return;
  exit_code_ = demo_failed_ ? 1 : 0;
  BeginDrain();
}

void Supervisor::Draw(bool urgent) {
  if (board_hidden_ || draining()) return;
  const ClusterView view = watch_->view();
  std::vector<std::string> lines;
  for (auto& process : processes_) lines.push_back(LineOf(*process, view));
  board_.Draw(lines, SteadyNow(), urgent);
}

std::string Supervisor::LineOf(const Process& process, const ClusterView& view) const {
  std::string line = fmt::format("  {:<10} {:<9}", process.name(), process.StateText(SteadyNow()));
  if (process.ready()) {
    if (process.role() == Role::kRouter) {
      line += RouterFigures(view);
    } else if (auto it = view.workers.find(process.name()); it != view.workers.end()) {
      line += WorkerFigures(it->second, process.role() == Role::kPrefill);
    }
  }
  if (process.restarts() > 0) line += fmt::format("  restarts {}", process.restarts());
  return line;
}

void Supervisor::Fail(int code, const std::string& message) {
  if (draining()) return;
  board_.Draw({}, SteadyNow(), false);
  fmt::print(stderr, "baton up: {}\n", message);
  exit_code_ = code;
  BeginDrain();
}

void Supervisor::BeginDrain() {
  if (exit_code_ == 0) board_.Say("Draining (Ctrl-C again stops at once).");
  board_.Draw({}, SteadyNow(), false);
  phase_ = Phase::kDrainingRouter;
  watch_->Watch({}, kLookWhileServing);
  kill_at_ = SteadyNow() + options_.up.drain_timeout;
  for (auto& process : processes_) process->DoNotStart();
  // Without anybody served yet there is nothing to wait for.
  if (!router().ever_ready()) kill_at_ = std::min(kill_at_, SteadyNow() + kGraceBeforeReady);
  router().Signal(SIGTERM);
  for (auto& process : processes_) {
    if (!process->ever_ready()) process->Signal(SIGTERM);
  }
}

void Supervisor::DrainWorkers() {
  phase_ = Phase::kDrainingWorkers;
  for (auto& process : processes_) {
    process->Signal(SIGTERM);
    // One that still loads does not listen yet; it holds nobody's work.
    if (!process->ready()) kill_at_ = std::min(kill_at_, SteadyNow() + kGraceBeforeReady);
  }
}

void Supervisor::KillAll() {
  kill_at_ = absl::InfiniteFuture();
  for (auto& process : processes_) process->Signal(SIGKILL);
}

bool Supervisor::AllGone() const {
  for (auto& process : processes_) {
    if (process->running()) return false;
  }
  return true;
}

}  // namespace baton::cli

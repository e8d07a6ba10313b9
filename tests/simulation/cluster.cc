#include "tests/simulation/cluster.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/text/fuzz_tokenizers.h"
#include "services/router/intake/field_error.h"

namespace baton::simulation {
namespace {

constexpr absl::Duration kWarmUp = absl::Milliseconds(300);  // everybody knows everybody
constexpr absl::Duration kHealed = absl::Seconds(8);
constexpr absl::Duration kPatience = absl::Seconds(90);
constexpr int32_t kVocab = 61;
constexpr int32_t kContext = 150;

// Its tokens are bytes, so that every one has a text of its own.
const router::ServedModel& Model() {
  static const auto& model = *new router::ServedModel(
      "chain", text::FuzzTokenizer(text::ByteLevelJson()), nullptr, NotFound("no template"));
  return model;
}

const FaultProfile& ProfileOf(uint64_t seed, const ClusterOptions& options) {
  if (options.profile != nullptr) return *options.profile;
  const auto& all = FaultProfiles();
  return all[seed % all.size()];
}

}  // namespace

Cluster::Cluster(uint64_t seed, const ClusterOptions& options)
    : queue_(seed), seed_(seed), profile_(ProfileOf(seed, options)), network_(queue_) {
  plan_.mutations = options.mutations;
  plan_.model = {.vocab = kVocab, .context_tokens_max = kContext, .num_layers = 2};
  plan_.engine.block_tokens = queue_.Chance(50) ? 4 : 8;
  plan_.engine.num_blocks = queue_.Uniform(kContext / plan_.engine.block_tokens + 2, 80);
  // As many as are lent at a time at most, some, or none.
  plan_.engine.num_spares = queue_.Chance(60) ? queue_.Uniform(1, 40) : 0;
  plan_.engine.batch_sequences_max = queue_.Uniform(2, 8);
  plan_.engine.step_tokens_max = plan_.engine.batch_sequences_max + queue_.Uniform(8, 40);
  plan_.engine.waiting_sequences_max = queue_.Chance(20) ? queue_.Uniform(2, 6) : 100;
  plan_.engine.prefix_cache = !queue_.Chance(10);
  plan_.engine.preemption = engine::PreemptionMode::kRecompute;
  plan_.engine.salt = "chain";
  plan_.engine.load_report_interval = absl::Milliseconds(200);
  bus_.set_landing([this](int64_t writer, const std::string& region, uint64_t offset) {
    const auto owner = regions_.find(region);
    if (owner == regions_.end()) return;
    const kernels::KvView pool = engine::testing::ChainRunner(plan_.model)
                                     .KvGeometry(plan_.engine.num_blocks + plan_.engine.num_spares,
                                                 plan_.engine.block_tokens);
    const auto block = static_cast<int32_t>(offset / pool.block_layer_bytes() % pool.num_blocks);
    if (std::string wrong = owner->second->ledger().CheckWrite(writer, block); !wrong.empty()) {
      Alarm(wrong);
    }
    const kv::BlockState state = owner->second->engine().core().pool().state(BlockId(block));
    outcome_.late_replaced += state == kv::BlockState::kReplaced;
    outcome_.late_pieces +=
        state == kv::BlockState::kQuarantined || state == kv::BlockState::kReplaced;
  });
  Build();
}

Cluster::~Cluster() {
  for (RouterSeat& seat : routers_) seat.router.reset();
  for (WorkerSeat& seat : workers_) seat.worker.reset();
}

void Cluster::Build() {
  routers_.resize(queue_.Chance(25) ? 2 : 1);
  for (size_t i = 0; i < routers_.size(); ++i) {
    routers_[i].name = fmt::format("router-{}", i);
    plan_.routers.push_back(routers_[i].name);
    StartRouter(routers_[i]);
  }
  const int prefills = queue_.Uniform(1, 2);
  const int decodes = queue_.Uniform(2, 3);
  workers_.resize(prefills + decodes);
  for (int i = 0; i < prefills + decodes; ++i) {
    workers_[i].decode = i >= prefills;
    workers_[i].name = i < prefills ? fmt::format("prefill-{}", i) : fmt::format("decode-{}", i);
    StartWorker(workers_[i]);
  }
}

void Cluster::StartWorker(WorkerSeat& seat) {
  auto process = std::make_shared<Process>(queue_, seat.name, ++seat.life);
  seat.worker = std::make_unique<SimWorker>(seat.decode, plan_, network_, bus_, process,
                                            [this](const std::string& what) { Alarm(what); });
  regions_[fmt::format("region-{}", seat.worker->process_id())] = seat.worker.get();
}

void Cluster::StartRouter(RouterSeat& seat) {
  static constexpr const char* kPolicies[] = {"cost", "cost", "round-robin", "power-of-two"};
  auto process = std::make_shared<Process>(queue_, seat.name, ++seat.life);
  seat.router = std::make_unique<SimRouter>(network_, process, kPolicies[queue_.Uniform(0, 3)],
                                            seed_, plan_.mutations);
}

void Cluster::Kill(WorkerSeat& seat) {
  if (seat.worker == nullptr) return;
  const std::shared_ptr<Process> process = seat.worker->process();
  const int64_t id = seat.worker->process_id();
  Count(*seat.worker);
  process->Kill();
  network_.OnKilled(*process);
  regions_.erase(fmt::format("region-{}", id));
  seat.worker.reset();
  for (WorkerSeat& other : workers_) {
    if (other.worker != nullptr) other.worker->ledger().CloseWriter(id);
  }
}

void Cluster::Kill(RouterSeat& seat, size_t index) {
  if (seat.router == nullptr) return;
  const std::shared_ptr<Process> process = seat.router->process();
  for (Call& call : calls_) {
    if (call.router != index) continue;
    call.client->Lost();
    call.flight.reset();
  }
  process->Kill();
  network_.OnKilled(*process);
  seat.router.reset();
}

// ---- what is asked for
// -------------------------------------------------------------------------

void Cluster::Plan() {
  calls_ahead_ = queue_.Uniform(4, 14);
  // All at once, or one by one.
  const absl::Duration arrivals = absl::Milliseconds(queue_.Chance(50) ? 200 : 1500);
  for (int i = 0; i < calls_ahead_; ++i) {
    const absl::Duration at = kWarmUp + queue_.Between(absl::ZeroDuration(), arrivals);
    queue_.After(at, "request", [this, i] {
      --calls_ahead_;
      Send(DrawRequest(i));
    });
  }
  for (const Fault& fault : DrawFaults(queue_, profile_, 5, arrivals + absl::Milliseconds(500))) {
    queue_.After(kWarmUp + fault.at, "fault", [this, fault] { Strike(fault); });
  }
  queue_.After(kHealed, "heal", [this] { Heal(); });
}

router::AcceptedRequest Cluster::DrawRequest(int number) {
  router::AcceptedRequest request;
  request.id = RequestId(fmt::format("r{}-{:x}", number, seed_ & 0xffff));
  request.model = &Model();
  request.n = queue_.Chance(15) ? queue_.Uniform(2, 3) : 1;
  request.priority = queue_.Chance(80) ? 0 : queue_.Uniform(-2, 2);
  request.user = queue_.Chance(50) ? "" : fmt::format("user-{}", queue_.Uniform(0, 2));
  DrawSampling(request);
  const int32_t output = *request.sampling.max_tokens;
  DrawPrompt(request, queue_.Chance(50) ? kContext - output - 1 : 40);
  request.accepted_at = queue_.Monotonic();
  if (queue_.Chance(5)) {
    request.deadline =
        queue_.Monotonic() + queue_.Between(absl::Milliseconds(20), absl::Seconds(3));
  }
  return request;
}

// Prompts of one family share their beginnings.
void Cluster::DrawPrompt(router::AcceptedRequest& request, int32_t tokens_max) {
  const int32_t tokens = queue_.Uniform(1, std::max(1, tokens_max));
  const int32_t shared = queue_.Chance(60) ? queue_.Uniform(0, tokens) : 0;
  const int32_t family = queue_.Uniform(0, 2);
  for (int32_t i = 0; i < tokens; ++i) {
    request.prompt.push_back(i < shared ? (i * 7 + family * 13) % kVocab
                                        : queue_.Uniform(0, kVocab - 1));
  }
}

void Cluster::DrawSampling(router::AcceptedRequest& request) {
  SamplingParams& params = request.sampling;
  params.temperature = queue_.Chance(50) ? 0 : 1;
  params.seed = queue_.Uniform(0, 1000);
  params.max_tokens = queue_.Uniform(1, queue_.Chance(40) ? 100 : 25);
  params.ignore_eos = queue_.Chance(50);
  if (queue_.Chance(20)) params.repetition_penalty = 1.5;
  if (queue_.Chance(20)) params.presence_penalty = 0.5;
  if (queue_.Chance(20)) params.logprobs = queue_.Uniform(0, 2);
  if (queue_.Chance(10)) params.prompt_logprobs = 0;
  if (queue_.Chance(20)) params.min_tokens = queue_.Uniform(0, *params.max_tokens);
  if (queue_.Chance(15)) {
    // Any two of the vocabulary's letters.
    for (int i = queue_.Uniform(1, 3); i > 0; --i) {
      std::string stop(1, static_cast<char>(queue_.Uniform('!', '<')));
      if (queue_.Chance(50)) stop += static_cast<char>(queue_.Uniform('!', '<'));
      params.stop_strings.push_back(stop);
    }
  }
}

void Cluster::Send(router::AcceptedRequest request) {
  const size_t index = queue_.Uniform(0, static_cast<int>(routers_.size()) - 1);
  RouterSeat& seat = routers_[index];
  calls_.push_back({.client = std::make_shared<SimClient>(
                        queue_, request, engine::testing::ChainRunner(plan_.model).info()),
                    .router = index});
  Call& call = calls_.back();
  if (seat.router == nullptr) return call.client->Lost();
  if (queue_.Chance(4)) call.client->set_messages_max(queue_.Uniform(0, 6));
  if (queue_.Chance(12)) CancelLater(calls_.size() - 1);
  if (absl::Status room =
          seat.router->dispatcher().CheckRoom(request.model->name(), "", request.priority);
      !room.ok()) {
    if (router::RetryAfterOf(room) == absl::ZeroDuration())
      Alarm("turned away without Retry-After");
    return call.client->Refused(room);
  }
  call.client->Started();
  auto flight = seat.router->dispatcher().Start(std::move(request), call.client);
  calls_[calls_.size() - 1].flight = std::move(flight);
}

void Cluster::CancelLater(size_t index) {
  queue_.After(queue_.Between(absl::ZeroDuration(), absl::Milliseconds(600)), "cancel",
               [this, index] {
                 Call& call = calls_[index];
                 if (call.client->over() || call.flight == nullptr) return;
                 call.client->Cancelled();
                 call.cancelled_at = queue_.Monotonic();
                 call.flight->Cancel();
               });
}

// ---- what goes wrong
// ---------------------------------------------------------------------------

Cluster::WorkerSeat& Cluster::AnyWorker(bool decode) {
  std::vector<WorkerSeat*> found;
  for (WorkerSeat& seat : workers_) {
    if (seat.decode == decode) found.push_back(&seat);
  }
  return *found[queue_.Uniform(0, static_cast<int>(found.size()) - 1)];
}

void Cluster::Strike(const Fault& fault) {
  disturbed_ = true;
  using enum FaultKind;
  const bool decode = fault.kind >= kKillDecode && fault.kind <= kDrainDecode;
  WorkerSeat& seat = AnyWorker(decode);
  switch (fault.kind) {
    case kBreakStream:
      return network_.BreakOne();
    case kPartition: {
      const bool from_router = queue_.Chance(50);
      return network_.Part(from_router ? routers_[0].name : AnyWorker(true).name, seat.name);
    }
    case kKillPrefill:
    case kKillDecode:
      Kill(seat);
      return Replace(seat, queue_.Chance(30) ? absl::Milliseconds(2) : fault.lasts);
    case kStopPrefill:
    case kStopDecode:
      return Pause(seat, fault.lasts);
    case kSlowPrefill:
    case kSlowDecode:
      if (seat.worker == nullptr) return;
      seat.worker->engine().set_slowness(10);
      return seat.worker->transport().set_slowness(10);
    case kCorruptPrefill:
      if (seat.worker != nullptr) seat.worker->transport().set_corrupt_percent(20);
      return;
    case kHangDecode:
      if (seat.worker != nullptr) seat.worker->engine().Hang(fault.lasts);
      return;
    case kDrainDecode:
    case kDrainPrefill:
      return DrainOut(seat, fault.lasts);
    case kKillRouter:
      Kill(routers_[0], 0);
      queue_.After(fault.lasts, "router back", [this] {
        if (routers_[0].router == nullptr) StartRouter(routers_[0]);
      });
  }
}

void Cluster::Replace(WorkerSeat& seat, absl::Duration after) {
  queue_.After(after, "worker back", [this, &seat] {
    if (seat.worker == nullptr) StartWorker(seat);
  });
}

// SIGSTOP, and SIGCONT later; some are killed while they stand still.
void Cluster::Pause(WorkerSeat& seat, absl::Duration lasts) {
  if (seat.worker == nullptr || seat.worker->process()->stopped()) return;
  const std::shared_ptr<Process> process = seat.worker->process();
  process->Stop();
  network_.OnStopped(process);
  const bool kill = queue_.Chance(20);
  queue_.After(lasts, kill ? "kill stopped" : "go on", [this, &seat, process, kill] {
    if (!process->alive() || !process->stopped()) return;
    if (!kill) return process->Continue();
    Kill(seat);
    Replace(seat, absl::Milliseconds(500));
  });
}

void Cluster::DrainOut(WorkerSeat& seat, absl::Duration lasts) {
  if (seat.worker == nullptr || seat.worker->draining()) return;
  seat.worker->Drain();
  const int life = seat.life;
  auto look = std::make_shared<std::function<void()>>();
  *look = [this, &seat, life, lasts, weak = std::weak_ptr(look)] {
    if (seat.worker == nullptr || seat.life != life) return;
    if (!seat.worker->gone()) {
      return queue_.After(absl::Milliseconds(50), "drained?",
                          [again = weak.lock()] { (*again)(); });
    }
    Kill(seat);
    Replace(seat, lasts);
  };
  queue_.After(absl::Milliseconds(50), "drained?", [look] { (*look)(); });
}

void Cluster::Heal() {
  network_.HealAll();
  for (WorkerSeat& seat : workers_) {
    if (seat.worker == nullptr) {
      StartWorker(seat);
      continue;
    }
    if (seat.worker->process()->stopped()) seat.worker->process()->Continue();
    seat.worker->engine().set_slowness(1);
    seat.worker->transport().set_slowness(1);
    seat.worker->transport().set_corrupt_percent(0);
  }
  for (RouterSeat& seat : routers_) {
    if (seat.router == nullptr) StartRouter(seat);
  }
}

// ---- what must hold
// ----------------------------------------------------------------------------

void Cluster::Alarm(const std::string& what) {
  if (wrong_.empty()) {
    wrong_ = fmt::format("{} (at {}, in \"{}\")", what, absl::FormatDuration(queue_.Monotonic()),
                         queue_.label());
  }
}

void Cluster::CheckAlways() {
  for (const Call& call : calls_) {
    if (!call.client->wrong().empty()) Alarm(call.client->wrong());
  }
  for (const RouterSeat& seat : routers_) {
    if (seat.router == nullptr) continue;
    const int inflight = seat.router->dispatcher().inflight();
    if (inflight > SimRouter::kInflightMax) Alarm(fmt::format("{} requests in flight", inflight));
  }
}

// Where nothing else is wrong, a worker has let go of a cancelled request within one step.
void Cluster::CheckCancelled() {
  if (disturbed_) return;
  for (const Call& call : calls_) {
    if (!call.cancelled_at || queue_.Monotonic() - *call.cancelled_at < absl::Milliseconds(250)) {
      continue;
    }
    for (const WorkerSeat& seat : workers_) {
      if (seat.worker != nullptr && seat.worker->Runs(call.client->request().id)) {
        Alarm(call.client->request().id.value() + " runs on long after its cancel");
      }
    }
  }
}

bool Cluster::AllOver() const {
  return calls_ahead_ == 0 && std::all_of(calls_.begin(), calls_.end(),
                                          [](const Call& call) { return call.client->over(); });
}

bool Cluster::Quiet() {
  for (const RouterSeat& seat : routers_) {
    if (seat.router == nullptr || seat.router->dispatcher().inflight() > 0) return false;
  }
  return std::all_of(workers_.begin(), workers_.end(), [](const WorkerSeat& seat) {
    return seat.worker != nullptr && !seat.worker->draining() && seat.worker->CheckIdle().empty();
  });
}

Outcome Cluster::Run() {
  Plan();
  const absl::Duration healed = queue_.Monotonic() + kHealed;
  const absl::Duration end = queue_.Monotonic() + kPatience;
  while (wrong_.empty()) {
    const absl::Duration now = queue_.Monotonic();
    if (now > end) break;
    const bool all_struck = profile_.kinds.empty() ? calls_ahead_ == 0 : now > healed;
    if (all_struck && AllOver() && Quiet()) break;
    queue_.RunNext();
    CheckAlways();
    if (queue_.events() % 64 == 0) CheckCancelled();
  }
  if (wrong_.empty()) wrong_ = CheckEnd();
  for (const WorkerSeat& seat : workers_) {
    if (seat.worker != nullptr) Count(*seat.worker);
  }
  CountCalls();
  outcome_.wrong = wrong_;
  outcome_.profile = profile_.name;
  outcome_.trace = queue_.trace();
  outcome_.events = queue_.events();
  outcome_.simulated = queue_.Monotonic();
  return outcome_;
}

std::string Cluster::CheckEnd() {
  for (const Call& call : calls_) {
    const router::AcceptedRequest& request = call.client->request();
    const std::string& id = request.id.value();
    if (!call.client->over()) return id + " never ended";
    if (call.client->state() != SimClient::State::kFailed) continue;
    const absl::Status& error = call.client->error();
    const bool late = request.deadline < absl::InfiniteDuration();
    if (late && absl::IsDeadlineExceeded(error)) continue;
    const bool full = plan_.engine.waiting_sequences_max < 100;
    const bool clear =
        absl::IsUnavailable(error) || absl::IsResourceExhausted(error) || absl::IsInternal(error);
    if (!clear) return fmt::format("{} failed: {}", id, error.ToString());
    if (!profile_.requests_may_fail && !full)
      return fmt::format("{} failed: {}", id, error.ToString());
  }
  for (const RouterSeat& seat : routers_) {
    if (seat.router != nullptr && seat.router->dispatcher().inflight() > 0) {
      return seat.name + " has requests in flight that nobody waits for";
    }
  }
  for (const WorkerSeat& seat : workers_) {
    if (seat.worker == nullptr) return seat.name + " is not back";
    if (seat.worker->draining()) return seat.name + " drains for ever";
    if (std::string wrong = seat.worker->CheckIdle(); !wrong.empty()) return wrong;
  }
  return "";
}

void Cluster::Count(const SimWorker& worker) {
  const worker::HandoverCounters handovers = worker.handovers();
  if (worker.decode()) {
    outcome_.handovers += handovers.completed;
    outcome_.handovers_failed += handovers.failed;
    outcome_.mismatches += handovers.checksum_mismatches;
  }
  outcome_.preemptions += worker.engine().core().Load().preemptions;
}

void Cluster::CountCalls() {
  using State = SimClient::State;
  for (const Call& call : calls_) {
    outcome_.completed += call.client->state() == State::kCompleted;
    outcome_.failed += call.client->state() == State::kFailed;
    outcome_.cancelled += call.client->state() == State::kCancelled;
    outcome_.lost += call.client->state() == State::kLost;
    if (call.flight != nullptr) outcome_.placements += call.flight->Report().placements_total;
  }
}

}  // namespace baton::simulation

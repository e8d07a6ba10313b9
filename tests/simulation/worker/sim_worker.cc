#include "tests/simulation/worker/sim_worker.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/rpc/convert.h"
#include "services/router/dispatch/continuation.h"

namespace baton::simulation {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(50);
constexpr absl::Duration kStallPatience = absl::Seconds(1);
constexpr char kFingerprint[] = "chain";

std::string NameOf(const SequenceId& id) {
  return fmt::format("{}/{}", id.request.value(), id.choice);
}

}  // namespace

SimWorker::SimWorker(bool decode, const WorkerPlan& plan, Network& network, MemoryBus& bus,
                     std::shared_ptr<Process> process, Alarm alarm)
    : decode_(decode),
      plan_(plan),
      process_(std::move(process)),
      alarm_(std::move(alarm)),
      id_(fmt::format("{}@{}", process_->name(), process_->life())),
      runner_(plan.model),
      transport_(bus, process_),
      pool_(runner_.KvGeometry(plan.engine.num_blocks + plan.engine.num_spares,
                               plan.engine.block_tokens)),
      peers_(network, process_, ledger_, plan.mutations) {
  auto region = transport_.AllocateRegion(pool_.pool_bytes());
  CHECK_OK(region.status());
  region_ = *std::move(region);
  pool_.base = region_.data;
  runner_.BindKv(pool_);
  const worker::Footing footing{
      .post = [this](engine::Command command) { return PostToEngine(std::move(command)); },
      .pool = pool_,
      .transport = &transport_,
      .worker_id = id_.value(),
      .fingerprint = kFingerprint,
      .vocab = runner_.info().vocab};
  const EventQueue& clock = process_->queue();
  engine_ = std::make_unique<SimEngine>(process_, plan.engine, runner_,
                                        static_cast<engine::Observer&>(*this));
  engine_->set_after_step([this](const auto& handled) { AfterStep(handled); });
  const bool checksums = !plan.mutations.skip_verification;
  if (decode_) {
    decode_worker_ = std::make_unique<decode_worker::DecodeWorker>(
        footing,
        handover::ReceiverOptions{
            .caller = id_.value(),
            .fingerprint = kFingerprint,
            .region = handover::DescribeRegion(region_, transport_.local_address(), pool_),
            .checksums = checksums},
        peers_, clock);
  } else {
    prefill_worker_ = std::make_unique<prefill_worker::PrefillWorker>(footing, checksums, clock);
  }
  for (const std::string& address : plan.routers) {
    links_.push_back(std::make_unique<worker::RouterLink>(
        address,
        [this, &network, address](worker::ReportStreamListener& listener) {
          return std::make_shared<SimReportStream>(network, process_, address, listener);
        },
        Describe(),
        worker::RouterWishes{
            .snapshot = [this] { CHECK_OK(engine_->Post(engine::SendSnapshot{})); },
            .drain = [this] { Drain(); }},
        clock));
  }
  network.Listen(process_->name(), process_, static_cast<WorkerListener*>(this));
  TickEvery(kTick);
}

SimWorker::~SimWorker() {
  process_->Kill();
  links_.clear();
  if (decode_worker_) decode_worker_->Stop();
  engine_.reset();
}

absl::Status SimWorker::PostToEngine(engine::Command command) {
  if (!process_->alive()) return absl::OkStatus();  // being cleared away
  std::optional<SequenceId> fresh;
  if (const auto* submit = std::get_if<engine::Submit>(&command)) fresh = submit->spec.id;
  if (auto* failed = std::get_if<engine::KvFailed>(&command)) {
    failed->fenced = failed->fenced || plan_.mutations.free_quarantine_early;
  }
  absl::Status posted = engine_->Post(std::move(command));
  if (posted.ok() && fresh) live_.insert(*std::move(fresh));
  return posted;
}

worker::PrefillServer& SimWorker::prefill_server() {
  return decode_ ? decode_worker_->server() : prefill_worker_->server();
}

engine::Observer& SimWorker::observer() {
  return decode_ ? static_cast<engine::Observer&>(*decode_worker_)
                 : static_cast<engine::Observer&>(*prefill_worker_);
}

v1::Registration SimWorker::Describe() const {
  v1::Registration self;
  self.set_worker_id(id_.value());
  self.set_role(decode_ ? v1::WORKER_ROLE_DECODE : v1::WORKER_ROLE_PREFILL);
  self.set_model("chain");
  self.set_fingerprint(kFingerprint);
  self.set_grpc_address(process_->name());
  self.set_protocol(1);
  self.set_block_tokens(pool_.block_tokens);
  self.set_num_blocks(plan_.engine.num_blocks);
  self.set_context_tokens_max(engine_->context_tokens_max());
  self.set_vocab_size(runner_.info().vocab);
  for (int32_t token : runner_.info().eos_token_ids) self.add_eos_token_ids(token);
  self.set_heartbeat_ms(500);
  self.set_process_id(transport_.process_id());
  self.set_batch_sequences_max(plan_.engine.batch_sequences_max);
  self.set_waiting_sequences_max(plan_.engine.waiting_sequences_max);
  self.set_waiting_tokens_max(plan_.engine.waiting_tokens_max);
  self.set_kv_bytes_per_token(static_cast<int64_t>(pool_.block_bytes()) / pool_.block_tokens);
  self.set_hash_salt(kFingerprint);
  self.set_step_tokens_max(plan_.engine.step_tokens_max);
  *self.mutable_transfer() = handover::ToProto(transport_.local_address());
  return self;
}

void SimWorker::TickEvery(absl::Duration period) {
  process_->After(period, "worker tick", [this, period] {
    Tick();
    TickEvery(period);
  });
}

void SimWorker::Tick() {
  const absl::Duration now = process_->queue().Monotonic();
  if (decode_worker_) {
    decode_worker_->Tick(now);
  } else {
    prefill_worker_->server().Tick(now);
  }
  for (auto& link : links_) link->Tick();
  const bool stalled = engine_->step_age() > kStallPatience;
  if (stalled == std::exchange(stalled_, stalled)) return;
  for (auto& link : links_) link->SetStalled(stalled);
  prefill_server().SetStalled(stalled);
}

void SimWorker::Drain() {
  if (std::exchange(draining_, true)) return;
  engine_->Drain(decode_ ? engine::Refuse::kGenerations : engine::Refuse::kEverything);
  for (auto& link : links_) link->SendDraining();
}

void SimWorker::OnStep(std::vector<engine::SequenceOutput> outputs) {
  for (const engine::SequenceOutput& output : outputs) {
    if (output.finish == FinishReason::kNone) continue;
    ledger_->SettleSequence(NameOf(output.id));
    live_.erase(output.id);
  }
  observer().OnStep(std::move(outputs));
}

void SimWorker::OnPrefillNeeded(engine::PrefillNeeded needed) {
  ledger_->Await(needed.epoch, NameOf(needed.spec.id));
  observer().OnPrefillNeeded(std::move(needed));
}

void SimWorker::OnKvEvents(engine::KvEvents events) {
  const auto proto = std::make_shared<const v1::KvEvents>(rpc::ToProto(events));
  for (auto& link : links_) link->SendKvEvents(proto);
}

void SimWorker::OnLoad(const engine::LoadReport& load) {
  for (auto& link : links_) link->SendLoad(worker::ReportOf(load, handovers()));
}

worker::HandoverCounters SimWorker::handovers() const {
  return decode_ ? decode_worker_->handover_counters() : prefill_worker_->handover_counters();
}

void SimWorker::NoteCommand(const engine::Command& command) {
  if (const auto* arrived = std::get_if<engine::KvArrived>(&command)) {
    ledger_->Settle(arrived->epoch);
  } else if (const auto* failed = std::get_if<engine::KvFailed>(&command)) {
    ledger_->Settle(failed->epoch);
  } else if (const auto* cancel = std::get_if<engine::Cancel>(&command)) {
    if (live_.contains(cancel->id)) alarm_(NameOf(cancel->id) + " goes on after its cancel");
  }
}

bool SimWorker::Runs(const RequestId& request) const {
  return std::any_of(live_.begin(), live_.end(), [&](const SequenceId& id) {
    return router::RequestOf(id.request.value()) == request.value();
  });
}

void SimWorker::AfterStep(const std::vector<engine::Command>& handled) {
  for (const engine::Command& command : handled) NoteCommand(command);
  const engine::EngineCore& core = engine_->core();
  const kv::BlockPool::Counters& blocks = core.pool().counters();
  const std::string where = id_.value() + ": ";
  if (blocks.free + blocks.cached + blocks.active + blocks.quarantined != blocks.total) {
    alarm_(where + "the block counters do not add up");
  }
  if (runner_.broken_links() > 0)
    alarm_(where + "wrong KV was read: " + runner_.first_broken_link());
  if (std::string wrong = ledger_->CheckPool(core.pool()); !wrong.empty()) alarm_(where + wrong);
}

std::string SimWorker::CheckIdle() {
  const engine::LoadReport load = engine_->core().Load();
  if (!engine_->idle()) {
    return fmt::format("{}: not idle: {} waiting, {} running, {} blocks quarantined", id_.value(),
                       load.waiting, load.running, load.blocks_quarantined);
  }
  if (load.blocks_free + load.blocks_cached != load.blocks_total || load.blocks_replaced > 0) {
    return fmt::format("{}: {} blocks active, {} quarantined and {} replaced in an idle worker",
                       id_.value(), load.blocks_active, load.blocks_quarantined,
                       load.blocks_replaced);
  }
  if (!ledger_->empty()) return id_.value() + ": somebody may still write to an idle worker";
  return "";
}

}  // namespace baton::simulation

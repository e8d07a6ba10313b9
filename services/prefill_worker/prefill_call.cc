#include "services/prefill_worker/prefill_call.h"

#include <atomic>

#include "common/rpc/convert.h"
#include "common/rpc/status.h"

namespace baton::prefill_worker {
namespace {

// Several callers may name their epochs alike; the engine and the sender need one name of our own.
uint64_t NextLocalEpoch() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

absl::Status CheckTokens(const v1::Sequence& sequence, int32_t vocab) {
  if (sequence.prompt().empty()) return InvalidArgument("sequence.prompt has no tokens");
  for (int32_t token : sequence.prompt()) {
    if (token < 0 || token >= vocab) {
      return InvalidArgument("sequence.prompt names token {}, but the vocabulary has ids 0 to {}",
                             token, vocab - 1);
    }
  }
  return absl::OkStatus();
}

}  // namespace

PrefillCall::PrefillCall(PrefillWorker& worker, EpochBook& book,
                         grpc::CallbackServerContext& context)
    : worker_(worker), book_(book), context_(context) {
  StartRead(&command_);
}

void PrefillCall::OnReadDone(bool ok) {
  if (!ok) {
    if (started_) return Stop("the caller has hung up");
    return OnOver(absl::CancelledError("no request came"));
  }
  if (command_.has_start() && !started_) {
    started_ = true;
    if (absl::Status status = Start(command_.start()); !status.ok()) return OnOver(status);
    absl::MutexLock lock(&mutex_);
    if (!ended_ && !end_) {
      accepted_.mutable_accepted();
      writing_ = true;
      StartWrite(&accepted_);
    }
  } else {
    Stop("cancelled by the decode worker");
  }
  StartRead(&command_);
}

absl::Status PrefillCall::Start(const v1::PrefillRequest& request) {
  worker::Runtime& runtime = worker_.runtime();
  if (request.fingerprint() != runtime.fingerprint()) {
    return FailedPrecondition("fingerprint is {}, but this prefill worker's is {}",
                              request.fingerprint(), runtime.fingerprint());
  }
  RETURN_IF_ERROR(CheckTokens(request.sequence(), runtime.model().vocab));
  ASSIGN_OR_RETURN(handover::Destination destination,
                   handover::ReadDestination(request, runtime.pool()));
  const uint64_t local_epoch = NextLocalEpoch();
  RETURN_IF_ERROR(book_.Begin(request.caller(), request.epoch(), local_epoch));
  caller_ = request.caller();
  epoch_ = request.epoch();
  local_epoch_ = local_epoch;

  SequenceSpec spec = rpc::FromProto(request.sequence());
  // Two attempts at one request may overlap here while the first is still stopping.
  spec.id.request = RequestId(fmt::format("{}#{}", spec.id.request.value(), local_epoch));
  RETURN_IF_ERROR(worker_.sender().Begin(
      spec.id, local_epoch, std::move(destination),
      [this](absl::StatusOr<handover::SendResult> result) { OnOver(std::move(result)); }));
  absl::Status posted = runtime.engine().Post(engine::SubmitPrefill{
      .spec = std::move(spec), .epoch = local_epoch, .first_block = request.first_block()});
  if (!posted.ok()) worker_.sender().Abandon(local_epoch);
  return posted;
}

void PrefillCall::Stop(const char* why) {
  if (local_epoch_ != 0) worker_.sender().Stop(local_epoch_, absl::CancelledError(why));
}

void PrefillCall::OnCancel() { Stop("the connection to the caller broke"); }

void PrefillCall::OnWriteDone(bool) {
  absl::Status status;
  {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (!TakeEnd()) return;
    status = *end_;
  }
  End(status);
}

// On the engine, transfer or a gRPC thread; exactly once.
void PrefillCall::OnOver(absl::StatusOr<handover::SendResult> result) {
  if (epoch_ != 0) book_.End(caller_, epoch_);
  {
    absl::MutexLock lock(&mutex_);
    if (result.ok()) SetFinished(*result);
    end_ = result.status();
    if (!TakeEnd()) return;
  }
  End(result.status());
}

bool PrefillCall::TakeEnd() {
  if (!end_ || writing_ || ended_) return false;
  return ended_ = true;
}

void PrefillCall::End(const absl::Status& status) {
  context_.AddTrailingMetadata("baton-fenced", "1");
  if (status.ok()) {
    StartWriteAndFinish(&finished_, grpc::WriteOptions(), grpc::Status::OK);
  } else {
    Finish(rpc::ToGrpc(status));
  }
}

void PrefillCall::SetFinished(const handover::SendResult& result) {
  v1::PrefillFinished& finished = *finished_.mutable_finished();
  *finished.mutable_first() = rpc::ToProto(result.first);
  for (const std::vector<uint64_t>& block : result.checksums) {
    finished.add_checksums()->mutable_layers()->Add(block.begin(), block.end());
  }
  finished.set_cached_tokens(result.times.cached_tokens);
  finished.set_queued_ms(absl::ToDoubleMilliseconds(result.times.queued));
  finished.set_compute_ms(absl::ToDoubleMilliseconds(result.compute));
  finished.set_exposed_ms(absl::ToDoubleMilliseconds(result.exposed));
  finished.set_bytes(result.bytes);
}

}  // namespace baton::prefill_worker

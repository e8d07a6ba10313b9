#include "common/transfer/nccl/put_writer.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace baton::transfer {

PutWriter::PutWriter(ControlSocket socket, std::string token, PairLinks& links,
                     absl::Duration linger, std::function<void(NcclJob&)> job_end)
    : socket_(std::move(socket)), links_(links), linger_(linger), job_end_(std::move(job_end)) {
  socket_.Send(Frame{.kind = FrameKind::kHello,
                     .text = std::move(token),
                     .host_id = ThisHostId(),
                     .process = ThisProcess()}
                   .Pack());
}

PutWriter::~PutWriter() { CHECK(jobs_.empty(), "{} transfers still queued", jobs_.size()); }

void PutWriter::Add(std::unique_ptr<NcclJob> job) {
  job->status = failure_;
  jobs_.push_back(std::move(job));
}

bool PutWriter::Advance(absl::Duration now) {
  if (closed()) return false;
  bool moved = false;
  for (const std::string& bytes : socket_.Advance()) {
    const std::optional<Frame> frame = Frame::Unpack(bytes);
    if (!frame) {
      Close(Unavailable("the peer spoke out of turn"), now);
    } else if (!Take(*frame)) {
      Close(failure_.ok() ? Unavailable("the peer spoke out of turn") : failure_, now);
    }
    moved = true;
  }
  if (socket_.broken() && !failed()) Close(Unavailable("the peer is gone"), now);
  // A reader closes its socket, or dies, only after its side of the link has ended.
  if (phase_ == Phase::kClosing && (stopped_ || socket_.ended() || now >= closing_until_)) {
    phase_ = Phase::kClosed;
    socket_.Close();
    EndJobs(/*all=*/true);
    return true;
  }
  if (failed()) return moved;
  moved |= Poll();
  if (!failure_.ok()) Close(failure_, now);
  return moved;
}

// False: that is not what the peer should have said.
bool PutWriter::Take(const Frame& frame) {
  if (phase_ == Phase::kClosing) {
    // Others are answers to what was said before.
    stopped_ |= frame.kind == FrameKind::kStopped;
    return true;
  }
  switch (frame.kind) {
    case FrameKind::kWelcome: {
      if (phase_ != Phase::kGreeting) return false;
      absl::StatusOr<std::unique_ptr<PairLink>> link = links_.Join(frame.text, 1);
      if (!link.ok()) return failure_ = link.status(), false;
      link_ = *std::move(link);
      phase_ = Phase::kJoining;
      return true;
    }
    case FrameKind::kAccept:
      if (phase_ != Phase::kAsked) return false;
      BeginSending();
      return failure_.ok();
    case FrameKind::kRefuse:
      if (phase_ != Phase::kAsked) return false;
      phase_ = Phase::kIdle;
      jobs_.front()->status = frame.why;
      EndFront();
      return true;
    case FrameKind::kReceived:
      if (phase_ != Phase::kSending || received_) return false;
      return received_ = true;
    default:
      return false;
  }
}

bool PutWriter::Poll() {
  if (phase_ == Phase::kJoining || phase_ == Phase::kSending) {
    const absl::StatusOr<bool> busy = link_->Busy();
    if (!busy.ok()) return failure_ = busy.status(), true;
    if (*busy || (phase_ == Phase::kSending && !received_)) return false;
    if (phase_ == Phase::kSending) {
      NcclJob& job = *jobs_.front();
      job.next = offered_until_;
      if (job.next == job.puts.size()) EndFront();
    }
    phase_ = Phase::kIdle;
  }
  return phase_ == Phase::kIdle && Offer();
}

bool PutWriter::Offer() {
  bool moved = false;
  while (!jobs_.empty() && jobs_.front()->puts.empty()) EndFront(), moved = true;
  if (jobs_.empty()) return moved;
  NcclJob& job = *jobs_.front();
  Frame offer{.kind = FrameKind::kOffer, .text = job.remote_key};
  uint64_t bytes = 0;
  offered_until_ = job.next;
  while (offered_until_ < job.puts.size() && offer.pieces.size() < kOfferPiecesMax &&
         (offer.pieces.empty() || bytes + job.puts[offered_until_].bytes <= kOfferBytesMax)) {
    const Put& put = job.puts[offered_until_++];
    offer.pieces.push_back({put.remote_address, put.bytes});
    bytes += put.bytes;
  }
  socket_.Send(offer.Pack());
  phase_ = Phase::kAsked;
  return true;
}

void PutWriter::BeginSending() {
  NcclJob& job = *jobs_.front();
  std::vector<Piece> pieces;
  for (size_t i = job.next; i < offered_until_; ++i) {
    // NCCL only reads it.
    pieces.push_back({const_cast<std::byte*>(job.puts[i].source), job.puts[i].bytes});
  }
  job.offered = true;
  received_ = false;
  phase_ = Phase::kSending;
  failure_ = link_->Send(pieces);
}

void PutWriter::Close(const absl::Status& why, absl::Duration now) {
  if (failed()) return;
  failure_ = why;
  phase_ = Phase::kClosing;
  closing_until_ = now + linger_;
  if (link_) link_->Abort();
  for (const auto& job : jobs_) {
    if (job->status.ok()) job->status = why;
  }
  socket_.Send(Frame{.kind = FrameKind::kStop}.Pack());
  EndJobs(/*all=*/false);
}

void PutWriter::Abandon() {
  if (link_) link_->Abort();
  if (!failed()) failure_ = absl::CancelledError("the transport is shutting down");
  phase_ = Phase::kClosed;
  socket_.Close();
  EndJobs(/*all=*/true);
}

// In order: behind one that must wait, all wait.
void PutWriter::EndJobs(bool all) {
  while (!jobs_.empty() && (all || !jobs_.front()->offered)) {
    if (jobs_.front()->status.ok()) jobs_.front()->status = failure_;
    EndFront();
  }
}

void PutWriter::EndFront() {
  const std::unique_ptr<NcclJob> job = std::move(jobs_.front());
  jobs_.pop_front();
  job_end_(*job);
}

}  // namespace baton::transfer

#include "common/worker/doctor/path_prober.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/synchronization/notification.h"
#include "common/handover/destination.h"
#include "common/rpc/status.h"

namespace baton::worker {
namespace {

void SetDeadline(grpc::ClientContext& context, absl::Duration within) {
  context.set_deadline(absl::ToChronoTime(absl::Now() + within));
}

// Other bytes for every loan, so that those of an earlier probe are not taken for these.
void FillPattern(std::span<std::byte> memory, uint64_t seed) {
  uint64_t word = seed * 0x9e3779b97f4a7c15u + 1;
  for (size_t at = 0; at + sizeof word <= memory.size(); at += sizeof word) {
    word ^= word << 13;
    word ^= word >> 7;
    word ^= word << 17;
    std::memcpy(memory.data() + at, &word, sizeof word);
  }
}

double MedianOf(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Outlives a round that takes too long: the transport still calls it.
struct RoundEnd {
  absl::Notification done;
  absl::Status status;
};

}  // namespace

PathProber::PathProber(std::string worker_id, transfer::Transport& transport, ProbeRegion& source,
                       const Clock& clock)
    : worker_id_(std::move(worker_id)), transport_(transport), source_(source), clock_(clock) {}

absl::StatusOr<v1::PathReport> PathProber::Probe(v1::Doctor::StubInterface& decode,
                                                 const std::function<bool()>& cancelled) {
  if (!probing_.TryLock()) {
    return ResourceExhausted("this worker probes another path already; try again");
  }
  const absl::Cleanup unlock = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { probing_.Unlock(); };
  v1::PathReport report;
  ASSIGN_OR_RETURN(const double round_trip_ms, RoundTripMs(decode));
  report.set_round_trip_ms(round_trip_ms);

  v1::ProbeRegionLoan loan;
  {
    grpc::ClientContext context;
    SetDeadline(context, kAnswerWithin);
    v1::LendProbeRegionRequest request;
    request.set_borrower(worker_id_);
    RETURN_IF_ERROR(rpc::FromGrpc(decode.LendProbeRegion(&context, request, &loan)));
  }
  const size_t bytes = std::min<size_t>(loan.bytes(), source_.memory().size());
  FillPattern(source_.memory().first(bytes), loan.loan() ^ loan.base_address());
  RETURN_IF_ERROR(Measure(loan, bytes, cancelled, report));

  v1::SettleProbeRegionRequest settle;
  settle.set_loan(loan.loan());
  settle.set_bytes(bytes);
  settle.set_checksum(ProbeChecksum(source_.memory().first(bytes)));
  v1::SettleProbeRegionResponse settled;
  grpc::ClientContext context;
  SetDeadline(context, kAnswerWithin);
  RETURN_IF_ERROR(rpc::FromGrpc(decode.SettleProbeRegion(&context, settle, &settled)));
  report.set_intact(settled.intact());
  return report;
}

absl::Status PathProber::Measure(const v1::ProbeRegionLoan& loan, size_t bytes,
                                 const std::function<bool()>& cancelled, v1::PathReport& report) {
  ASSIGN_OR_RETURN(const transfer::PeerHandle peer,
                   transport_.Connect(handover::FromProto(loan.address())));
  // The first one connects.
  RETURN_IF_ERROR(RoundMs(peer, loan, bytes).status());
  for (int round = 0; round < kRounds; ++round) {
    if (cancelled()) return absl::CancelledError("nobody waits for the probe any more");
    ASSIGN_OR_RETURN(const double ms, RoundMs(peer, loan, bytes));
    report.add_round_ms(ms);
  }
  report.set_path(transport_.PathTo(peer));
  report.set_round_bytes(bytes);
  return absl::OkStatus();
}

absl::StatusOr<double> PathProber::RoundTripMs(v1::Doctor::StubInterface& decode) {
  std::vector<double> times;
  for (int i = 0; i < kRoundTrips; ++i) {
    grpc::ClientContext context;
    SetDeadline(context, kAnswerWithin);
    v1::Examination answer;
    const absl::Duration began = clock_.Monotonic();
    RETURN_IF_ERROR(rpc::FromGrpc(decode.Examine(&context, {}, &answer)));
    // The first one dials.
    if (i > 0) times.push_back(absl::ToDoubleMilliseconds(clock_.Monotonic() - began));
  }
  return MedianOf(std::move(times));
}

absl::StatusOr<double> PathProber::RoundMs(transfer::PeerHandle peer,
                                           const v1::ProbeRegionLoan& loan, size_t bytes) {
  std::vector<transfer::Put> puts;
  for (size_t at = 0; at < bytes; at += kPieceBytes) {
    puts.push_back({.source = source_.memory().data() + at,
                    .bytes = std::min(kPieceBytes, bytes - at),
                    .remote_address = loan.base_address() + at});
  }
  const auto end = std::make_shared<RoundEnd>();
  const absl::Duration began = clock_.Monotonic();
  transport_.PutAll(peer, loan.remote_key(), std::move(puts), [end](absl::Status status) {
    end->status = std::move(status);
    end->done.Notify();
  });
  if (!end->done.WaitForNotificationWithTimeout(kRoundWithin)) {
    return absl::DeadlineExceededError(fmt::format("{} bytes are not through after {} s", bytes,
                                                   absl::ToInt64Seconds(kRoundWithin)));
  }
  RETURN_IF_ERROR(end->status);
  return absl::ToDoubleMilliseconds(clock_.Monotonic() - began);
}

}  // namespace baton::worker

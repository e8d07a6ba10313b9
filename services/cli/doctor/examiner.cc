#include "services/cli/doctor/examiner.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>

#include "absl/time/clock.h"
#include "baton/v1/doctor.grpc.pb.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"

namespace baton::cli {
namespace {

constexpr size_t kAtOnce = 16;
constexpr int kClockSamples = 5;  // the quickest answer tells most

std::unique_ptr<v1::Doctor::Stub> StubFor(const WorkerPicture& worker,
                                          const rpc::Credentials& credentials) {
  return v1::Doctor::NewStub(rpc::PeerChannel(worker.address, credentials));
}

void Take(const v1::Examination& answer, WorkerPicture& worker) {
  worker.version = answer.version();
  worker.host_id = answer.host_id();
  worker.token_fingerprint = answer.token_fingerprint();
  worker.transport = answer.transport();
  worker.transfer_path = answer.transfer_path();
  worker.device = answer.device();
  worker.rdma_devices.assign(answer.rdma_devices().begin(), answer.rdma_devices().end());
}

void Examine(const ExamineOptions& options, WorkerPicture& worker) {
  const auto stub = StubFor(worker, options.credentials);
  const absl::Time until = absl::Now() + options.answer_within;
  worker.clock.give_or_take = absl::InfiniteDuration();
  for (int i = 0; i < kClockSamples; ++i) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(until));
    v1::Examination answer;
    const absl::Time asked = absl::Now();
    const grpc::Status status = stub->Examine(&context, {}, &answer);
    const absl::Time answered = absl::Now();
    worker.examined = rpc::FromGrpc(status);
    if (!status.ok()) return;
    Take(answer, worker);
    const ClockOffset clock =
        OffsetOf(asked, answered, absl::FromUnixMicros(answer.wall_clock_us()));
    if (clock.give_or_take < worker.clock.give_or_take) worker.clock = clock;
  }
}

PathPicture Probe(const ClusterPicture& picture, size_t prefill, size_t decode,
                  const ExamineOptions& options) {
  PathPicture path{.prefill = prefill, .decode = decode};
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + options.probe_within));
  v1::ProbePathRequest request;
  request.set_decode_address(picture.workers[decode].address);
  v1::PathReport report;
  path.probed = rpc::FromGrpc(StubFor(picture.workers[prefill], options.credentials)
                                  ->ProbePath(&context, request, &report));
  if (!path.probed.ok()) return path;
  path.path = report.path();
  path.round_bytes = report.round_bytes();
  path.round_ms.assign(report.round_ms().begin(), report.round_ms().end());
  path.round_trip_ms = report.round_trip_ms();
  path.intact = report.intact();
  return path;
}

}  // namespace

void ExamineWorkers(const ExamineOptions& options, ClusterPicture& picture) {
  std::atomic<size_t> next = 0;
  std::vector<std::thread> threads(std::min(kAtOnce, picture.workers.size()));
  for (std::thread& thread : threads) {
    thread = std::thread([&] {
      for (size_t i = next++; i < picture.workers.size(); i = next++) {
        Examine(options, picture.workers[i]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

std::vector<std::pair<size_t, size_t>> PathsOf(const ClusterPicture& picture) {
  std::vector<size_t> prefill;
  std::vector<size_t> decode;
  for (size_t i = 0; i < picture.workers.size(); ++i) {
    if (!picture.workers[i].examined.ok()) continue;
    (picture.workers[i].is_decode ? decode : prefill).push_back(i);
  }
  // Diagonal by diagonal: each of them has every worker of the smaller side.
  std::vector<std::pair<size_t, size_t>> paths;
  const size_t longer = std::max(prefill.size(), decode.size());
  for (size_t shift = 0; shift < std::min(prefill.size(), decode.size()); ++shift) {
    for (size_t i = 0; i < longer; ++i) {
      const bool more_prefill = prefill.size() >= decode.size();
      const size_t from = prefill[more_prefill ? i : (i + shift) % prefill.size()];
      const size_t to = decode[more_prefill ? (i + shift) % decode.size() : i];
      if (picture.ArePaired(picture.workers[from], picture.workers[to])) {
        paths.emplace_back(from, to);
      }
    }
  }
  return paths;
}

size_t ProbePaths(const ExamineOptions& options, ClusterPicture& picture) {
  const auto paths = PathsOf(picture);
  for (const auto& [prefill, decode] : paths) {
    if (picture.paths.size() == static_cast<size_t>(options.paths_max)) break;
    picture.paths.push_back(Probe(picture, prefill, decode, options));
  }
  return paths.size();
}

}  // namespace baton::cli

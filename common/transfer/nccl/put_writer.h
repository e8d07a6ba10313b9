#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/transfer/nccl/control_socket.h"
#include "common/transfer/nccl/frames.h"
#include "common/transfer/nccl/pair_link.h"
#include "common/transfer/transport.h"

namespace baton::transfer {

// A PutAll() on its way.
struct NcclJob {
  std::string remote_key;
  std::vector<Put> puts;
  std::function<void(absl::Status)> done;
  size_t next = 0;       // pieces before it have been offered
  bool offered = false;  // bytes of it may have been sent
  absl::Status status;
};

// The writing side towards one peer; see frames.h for what is said. Works off one job after
// another, each in offers that the reader answers:
//
//   joining --Welcome, joined--> idle --Offer--> asked --Accept--> sending --Received--> idle
//                                  ^--------------Refuse---'
//   any --the peer is lost, or Close()--> closing --Stopped, its end, or too long--> closed
//
// The transfer thread's.
class PutWriter {
 public:
  static constexpr size_t kOfferPiecesMax = 4096;
  static constexpr uint64_t kOfferBytesMax = 256 << 20;

  // `job_end` is called once per job, in order. `links` outlives this.
  PutWriter(ControlSocket socket, std::string token, PairLinks& links, absl::Duration linger,
            std::function<void(NcclJob&)> job_end);
  // CHECKs that every job has ended: after Close() and Abandon().
  ~PutWriter();

  void Add(std::unique_ptr<NcclJob> job);
  // Does what can be done now; whether anything moved. `now`: monotonic.
  bool Advance(absl::Duration now);
  // Ends every job with `why`, at once where nothing of it was sent, else when nothing of it can
  // land any more: the reader has said so, is gone, or `linger` is over.
  void Close(const absl::Status& why, absl::Duration now);
  // Ends what is left at once: this process is about to end.
  void Abandon();

  bool failed() const { return phase_ >= Phase::kClosing; }
  bool closed() const { return phase_ == Phase::kClosed; }
  bool idle() const { return jobs_.empty(); }
  // Waits for the GPU or for time, which no descriptor tells of.
  bool needs_polling() const {
    return phase_ == Phase::kJoining || phase_ == Phase::kSending || phase_ == Phase::kClosing;
  }
  const ControlSocket& socket() const { return socket_; }

 private:
  enum class Phase : uint8_t { kGreeting, kJoining, kIdle, kAsked, kSending, kClosing, kClosed };

  bool Take(const Frame& frame);
  bool Poll();
  bool Offer();
  void BeginSending();
  void EndFront();
  void EndJobs(bool all);

  ControlSocket socket_;
  PairLinks& links_;
  const absl::Duration linger_;
  const std::function<void(NcclJob&)> job_end_;
  Phase phase_ = Phase::kGreeting;
  std::unique_ptr<PairLink> link_;
  std::deque<std::unique_ptr<NcclJob>> jobs_;
  size_t offered_until_ = 0;  // of the front job: pieces before it are in the current offer
  bool received_ = false;     // the reader has all of the current offer
  bool stopped_ = false;      // the reader's side is aborted
  absl::Status failure_;
  absl::Duration closing_until_;
};

}  // namespace baton::transfer

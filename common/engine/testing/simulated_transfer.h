#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <vector>

#include "common/engine/testing/simulated_worker.h"

namespace baton::engine::testing {

// Carries KV from a prefill worker's memory into a decode worker's, as slowly, as badly and in
// whatever order a seed says: pieces land late, attempts are refused or given up while their writes
// still land, messages come twice or for epochs long gone. Never breaks what a transport promises:
// KvArrived comes after all pieces have landed, KvFenced and KvSent after the last one that ever
// will.
class SimulatedTransfer {
 public:
  // `failures_percent` of the attempts go wrong somewhere.
  SimulatedTransfer(SimulatedWorker& prefill, SimulatedWorker& decode, uint64_t seed,
                    int failures_percent);

  // Takes the workers' news, and moves one thing on if there is one. False when nothing is under
  // way.
  bool Advance();
  int64_t pieces_landed() const { return pieces_landed_; }
  int64_t attempts_failed() const { return attempts_failed_; }

 private:
  struct Piece {
    int32_t layer;
    BlockId source;
    BlockId destination;
  };
  struct Attempt {
    PrefillNeeded needed;
    std::vector<Piece> under_way;
    bool computed = false;  // PrefillDone has come
    absl::Status compute_status;
    GeneratedToken first;
    bool doomed = false;    // will be given up at some point
    bool given_up = false;  // KvFailed was said, unfenced; its writes still land
  };

  void TakeNews();
  void Begin(PrefillNeeded needed);
  void TakeReady(const KvReady& ready);
  void MoveOn(uint64_t epoch, Attempt& attempt);
  void Land(Attempt& attempt);
  void GiveUp(uint64_t epoch, Attempt& attempt);
  void Settle(uint64_t epoch, Attempt& attempt);
  bool Chance(int percent) { return std::uniform_int_distribution<int>(0, 99)(random_) < percent; }

  SimulatedWorker& prefill_;
  SimulatedWorker& decode_;
  std::mt19937_64 random_;
  const int failures_percent_;
  std::map<uint64_t, Attempt> attempts_;
  uint64_t last_epoch_ = 0;
  int64_t pieces_landed_ = 0;
  int64_t attempts_failed_ = 0;
};

}  // namespace baton::engine::testing

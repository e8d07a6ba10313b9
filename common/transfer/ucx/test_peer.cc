// A worker process for ucx_process_test: owns a region, connects, puts, checks and floods as told
// on standard input, one command a line, and answers on standard output, one line each.
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/synchronization/notification.h"
#include "common/base/check.h"
#include "common/transfer/ucx/ucx_transport.h"
#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace baton::transfer {
namespace {

// Word `index` of the pattern `seed`: every seed differs from every other in every word.
uint64_t PatternWord(uint64_t seed, uint64_t index) {
  return (index * 0x9e3779b97f4a7c15) ^ (seed * 0xd1342543de82ef95 + 1);
}

class TestPeer {
 public:
  TestPeer(UcxTransports transports, size_t region_bytes) {
    UcxOptions options;
    options.transports = transports;
    options.socket_linger = absl::Milliseconds(500);
    auto made = UcxTransport::Create(options);
    CHECK_OK(made.status());
    transport_ = *std::move(made);
    auto region = transport_->AllocateRegion(region_bytes);
    CHECK_OK(region.status());
    region_ = *region;
    source_.resize(region_bytes / 8);
  }

  void Serve() {
    Say(Describe());
    for (std::string line; std::getline(std::cin, line);) {
      std::istringstream words(line);
      std::string command;
      words >> command;
      if (command == "quit") return;
      Obey(command, words);
    }
  }

 private:
  void Obey(const std::string& command, std::istringstream& words) {
    if (command == "connect") return Connect(words);
    if (command == "disconnect") return Disconnect();
    if (command == "put") return PutPattern(words);
    if (command == "check") return CheckPattern(words);
    if (command == "flood") return Flood();
    if (command == "flood-end") return FloodEnd();
    if (command == "probe") return Probe();
    if (command == "idle-cpu") return IdleCpu();
    CHECK(false, "unknown command {}", command);
  }

  std::string Describe() const {
    const PeerAddress self = transport_->local_address();
    return fmt::format("{} {} {} {} {} {}", Hex(self.worker), self.host_id, self.process_id,
                       self.process_start, Hex(region_.remote_key), region_.address);
  }

  void Connect(std::istringstream& words) {
    std::string worker, key;
    words >> worker >> peer_.host_id >> peer_.process_id >> peer_.process_start >> key >>
        remote_address_;
    peer_.transport = "ucx";
    peer_.worker = absl::HexStringToBytes(worker);
    remote_key_ = absl::HexStringToBytes(key);
    auto handle = transport_->Connect(peer_);
    CHECK_OK(handle.status());
    handle_ = *handle;
    Say(transport_->PathTo(handle_));
  }

  void Disconnect() {
    transport_->Disconnect(handle_);
    Say("disconnected");
  }

  // put PIECE_BYTES PIECES SEED: the pattern, piece by piece, in a scattered order.
  void PutPattern(std::istringstream& words) {
    uint64_t piece_bytes = 0, pieces = 0, seed = 0;
    words >> piece_bytes >> pieces >> seed;
    Fill(piece_bytes * pieces, seed);
    std::vector<Put> puts;
    for (uint64_t i = 0; i < pieces; ++i) {
      const uint64_t at = (i * 7919 % pieces) * piece_bytes;  // 7919: prime, so each piece once
      puts.push_back({Source() + at, piece_bytes, remote_address_ + at});
    }
    absl::Notification ended;
    absl::Status outcome;
    transport_->PutAll(handle_, remote_key_, std::move(puts), [&](absl::Status status) {
      outcome = status;
      ended.Notify();
    });
    ended.WaitForNotification();
    Say(std::string(outcome.ToString()));
  }

  void CheckPattern(std::istringstream& words) {
    uint64_t piece_bytes = 0, pieces = 0, seed = 0;
    words >> piece_bytes >> pieces >> seed;
    const auto* got = reinterpret_cast<const uint64_t*>(region_.data);
    for (uint64_t i = 0; i < piece_bytes * pieces / 8; ++i) {
      if (got[i] != PatternWord(seed, i)) return Say(fmt::format("word {} differs", i));
    }
    Say("OK");
  }

  // The whole region, over and over, several calls at a time, until it fails.
  void Flood() {
    Fill(region_.bytes, 1);
    for (int i = 0; i < 4; ++i) FloodOnce();
    flooding_.WaitForNotification();
    Say("flooding");
  }

  void FloodOnce() {
    std::vector<Put> puts;
    for (uint64_t at = 0; at + 65536 <= region_.bytes; at += 65536) {
      puts.push_back({Source() + at, 65536, remote_address_ + at});
    }
    ++floods_;
    transport_->PutAll(handle_, remote_key_, std::move(puts), [this](absl::Status status) {
      if (!flooding_.HasBeenNotified()) flooding_.Notify();
      if (status.ok()) FloodOnce();
      if (--floods_ > 0) return;
      flood_outcome_ = status;
      flood_ended_.Notify();
    });
  }

  void FloodEnd() {
    flood_ended_.WaitForNotification();
    Say(std::string(flood_outcome_.ToString()));
  }

  void Probe() {
    switch (transport_->Probe(peer_)) {
      case PeerState::kAlive:
        return Say("alive");
      case PeerState::kGone:
        return Say("gone");
      case PeerState::kUnknown:
        return Say("unknown");
    }
  }

  // Microseconds of CPU that this whole process uses in a second of having nothing to do.
  void IdleCpu() {
    const int64_t before = CpuMicroseconds();
    std::this_thread::sleep_for(std::chrono::seconds(1));
    Say(fmt::format("{}", CpuMicroseconds() - before));
  }

  static int64_t CpuMicroseconds() {
    struct rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto of = [](const timeval& time) { return time.tv_sec * 1'000'000L + time.tv_usec; };
    return of(usage.ru_utime) + of(usage.ru_stime);
  }

  void Fill(uint64_t bytes, uint64_t seed) {
    for (uint64_t i = 0; i < bytes / 8; ++i) source_[i] = PatternWord(seed, i);
  }

  const std::byte* Source() const { return reinterpret_cast<const std::byte*>(source_.data()); }
  static std::string Hex(const std::string& bytes) { return absl::BytesToHexString(bytes); }
  static void Say(const std::string& line) { std::cout << line << std::endl; }

  PeerAddress peer_;
  PeerHandle handle_ = 0;
  std::string remote_key_;
  uint64_t remote_address_ = 0;
  Region region_;
  std::vector<uint64_t> source_;
  absl::Notification flooding_;
  absl::Notification flood_ended_;
  absl::Status flood_outcome_;
  std::atomic<int> floods_ = 0;
  std::unique_ptr<UcxTransport> transport_;  // last: its callbacks use the rest
};

}  // namespace
}  // namespace baton::transfer

int main(int argc, char** argv) {
  using baton::transfer::UcxTransports;
  spdlog::set_default_logger(
      spdlog::stderr_logger_mt("test_peer"));  // standard output is for answers
  CHECK(argc == 3, "usage: transfer_test_peer auto|network REGION_BYTES");
  const bool automatic = std::string(argv[1]) == "auto";
  baton::transfer::TestPeer peer(automatic ? UcxTransports::kAuto : UcxTransports::kNetwork,
                                 std::stoull(argv[2]));
  peer.Serve();
}

// Puts between two processes over each path, beside memcpy of the same shapes and ucx_perftest, in
// one run, because a shared machine changes from minute to minute.
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/escaping.h"
#include "absl/synchronization/notification.h"
#include "bench/transfer/report.h"
#include "common/base/check.h"
#include "common/transfer/ucx/ucx_transport.h"
#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

extern char** environ;

namespace baton::bench {
namespace {

using transfer::Put;
using transfer::UcxTransports;

// Larger than the caches, so that no path profits from the bytes having just been there.
constexpr uint64_t kPoolBytes = 256 << 20;
constexpr char kReaderFlag[] = "--reader";

std::unique_ptr<transfer::UcxTransport> MakeTransport(UcxTransports transports) {
  transfer::UcxOptions options;
  options.transports = transports;
  auto made = transfer::UcxTransport::Create(options);
  CHECK_OK(made.status());
  return *std::move(made);
}

// The reader: a pool, its description on standard output, and sleep until standard input closes.
int RunReader(UcxTransports transports) {
  auto transport = MakeTransport(transports);
  auto region = transport->AllocateRegion(kPoolBytes);
  CHECK_OK(region.status());
  const transfer::PeerAddress self = transport->local_address();
  std::cout << absl::BytesToHexString(self.worker) << ' ' << self.host_id << ' ' << self.process_id
            << ' ' << self.process_start << ' ' << absl::BytesToHexString(region->remote_key) << ' '
            << region->address << std::endl;
  std::cin.get();
  return 0;
}

class ReaderProcess {
 public:
  explicit ReaderProcess(UcxTransports transports) {
    int to[2], from[2];
    CHECK(::pipe2(to, O_CLOEXEC) == 0 && ::pipe2(from, O_CLOEXEC) == 0, "pipe: errno {}", errno);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from[1], 1);
    std::string name = "transfer_bench", flag = kReaderFlag;
    std::string mode = transports == UcxTransports::kAuto ? "shm" : "tcp";
    char* arguments[] = {name.data(), flag.data(), mode.data(), nullptr};
    CHECK(::posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, arguments, environ) == 0,
          "spawn");
    posix_spawn_file_actions_destroy(&actions);
    ::close(to[0]);
    ::close(from[1]);
    to_ = to[1];
    Read(from[0]);
    ::close(from[0]);
  }
  ~ReaderProcess() {
    ::close(to_);
    ::waitpid(pid_, nullptr, 0);
  }
  ReaderProcess(const ReaderProcess&) = delete;
  ReaderProcess& operator=(const ReaderProcess&) = delete;

  transfer::PeerAddress address;
  std::string remote_key;
  uint64_t pool = 0;

 private:
  void Read(int from) {
    std::string line;
    for (char c = 0; ::read(from, &c, 1) == 1 && c != '\n';) line += c;
    std::string worker, key;
    std::istringstream(line) >> worker >> address.host_id >> address.process_id >>
        address.process_start >> key >> pool;
    address.transport = "ucx";
    address.worker = absl::HexStringToBytes(worker);
    remote_key = absl::HexStringToBytes(key);
    CHECK(pool != 0, "the reader did not start");
  }

  pid_t pid_ = 0;
  int to_ = -1;
};

struct Shape {
  uint64_t piece_bytes = 0;
  uint64_t pieces = 0;
};

// Offsets of the `turn`-th operation's pieces: through the pool, round and round.
uint64_t OffsetOf(const Shape& shape, uint64_t turn, uint64_t piece) {
  return (turn * shape.pieces + piece) * shape.piece_bytes % kPoolBytes;
}

template <typename Operation>
Series Measure(std::string path, const Shape& shape, absl::Duration patience, Operation operation) {
  Series series{std::move(path), shape.piece_bytes, shape.pieces, {}};
  // Once through the pool untimed: the page faults of both sides.
  const uint64_t warm_turns = kPoolBytes / (shape.piece_bytes * shape.pieces);
  for (uint64_t turn = 0; turn < warm_turns; ++turn) operation(turn);
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t turn = 0;; ++turn) {
    const auto before = std::chrono::steady_clock::now();
    operation(turn);
    const auto after = std::chrono::steady_clock::now();
    series.seconds.push_back(std::chrono::duration<double>(after - before).count());
    if (series.seconds.size() >= 10 && after - begin > absl::ToChronoNanoseconds(patience))
      return series;
  }
}

void MeasureMemcpy(const std::vector<Shape>& shapes, absl::Duration patience,
                   const std::byte* source, std::vector<Series>* all) {
  std::vector<std::byte> target(kPoolBytes);
  for (const Shape& shape : shapes) {
    all->push_back(Measure("memcpy", shape, patience, [&](uint64_t turn) {
      for (uint64_t piece = 0; piece < shape.pieces; ++piece) {
        const uint64_t at = OffsetOf(shape, turn, piece);
        std::memcpy(target.data() + at, source + at, shape.piece_bytes);
      }
    }));
  }
}

void MeasurePuts(UcxTransports transports, const std::vector<Shape>& shapes,
                 absl::Duration patience, const std::byte* source, std::vector<Series>* all) {
  ReaderProcess reader(transports);
  auto transport = MakeTransport(transports);
  auto peer = transport->Connect(reader.address);
  CHECK_OK(peer.status());
  for (const Shape& shape : shapes) {
    all->push_back(Measure(transport->PathTo(*peer), shape, patience, [&](uint64_t turn) {
      std::vector<Put> puts;
      for (uint64_t piece = 0; piece < shape.pieces; ++piece) {
        const uint64_t at = OffsetOf(shape, turn, piece);
        puts.push_back({source + at, shape.piece_bytes, reader.pool + at});
      }
      absl::Notification ended;
      transport->PutAll(*peer, reader.remote_key, std::move(puts), [&](absl::Status status) {
        CHECK_OK(status);
        ended.Notify();
      });
      ended.WaitForNotification();
    }));
  }
}

// The average bandwidth of ucx_perftest's last line, as it prints it (MiB/s), from two processes of
// it. Zero when it is not installed or does not answer.
double RunPerftest(const std::string& tls, uint64_t bytes) {
  const std::string port = std::to_string(20000 + ::getpid() % 20000);
  const std::string common =
      fmt::format("UCX_TLS={} UCX_LOG_LEVEL=error timeout 30 ucx_perftest -p {}", tls, port);
  const std::string command = fmt::format(
      "command -v ucx_perftest >/dev/null || exit 0; {0} >/dev/null 2>&1 & server=$!; "
      "for attempt in 1 2 3 4 5 6 7 8 9 10; do "
      "  {0} 127.0.0.1 -t ucp_put_bw -s {1} -n 2000 -f -v 2>/dev/null && break; sleep 0.2; "
      "done; wait $server",
      common, bytes);
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return 0;
  double mebibytes_per_second = 0;
  for (char line[1024]; std::fgets(line, sizeof line, pipe) != nullptr;) {
    // iterations,50th percentile,average,overall latency,average bandwidth,overall bandwidth,rates
    std::vector<double> fields;
    std::istringstream words(line);
    for (std::string word; std::getline(words, word, ',');)
      fields.push_back(std::strtod(word.c_str(), nullptr));
    if (fields.size() >= 6 && fields[5] > 0) mebibytes_per_second = fields[5];
  }
  ::pclose(pipe);
  return mebibytes_per_second * 1024 * 1024 / 1e9;
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  using namespace baton::bench;
  spdlog::set_default_logger(spdlog::stderr_logger_mt("transfer_bench"));  // figures go to stdout
  if (argc == 3 && std::string(argv[1]) == kReaderFlag) {
    return RunReader(std::string(argv[2]) == "shm" ? UcxTransports::kAuto
                                                   : UcxTransports::kNetwork);
  }
  CLI::App app("KV hand-over between two processes: puts over shared memory and TCP beside memcpy");
  double seconds = 0.5;
  std::string json;
  bool perftest = true;
  app.add_option("--seconds", seconds, "time spent on each shape and path")
      ->check(CLI::PositiveNumber);
  app.add_option("--json", json, "also write the figures to this file");
  app.add_flag("!--no-perftest", perftest, "leave ucx_perftest out");
  CLI11_PARSE(app, argc, argv);

  std::vector<Shape> shapes;
  for (uint64_t piece_bytes = 16 << 10; piece_bytes <= 4 << 20; piece_bytes *= 4) {
    for (uint64_t pieces : {1, 8, 64}) {
      if (piece_bytes * pieces <= kPoolBytes / 2) shapes.push_back({piece_bytes, pieces});
    }
  }
  const std::vector<std::byte> source(kPoolBytes, std::byte{1});
  const absl::Duration patience = absl::Seconds(seconds);
  std::vector<Series> series;
  MeasureMemcpy(shapes, patience, source.data(), &series);
  MeasurePuts(UcxTransports::kAuto, shapes, patience, source.data(), &series);
  MeasurePuts(UcxTransports::kNetwork, shapes, patience, source.data(), &series);

  std::vector<Perftest> peers;
  for (uint64_t bytes : {uint64_t{64} << 10, uint64_t{2} << 20}) {
    if (!perftest) break;
    for (const auto& [path, tls] : {std::pair{"shared memory", "posix"}, std::pair{"tcp", "tcp"}}) {
      if (const double gbps = RunPerftest(tls, bytes); gbps > 0)
        peers.push_back({path, bytes, gbps});
    }
  }
  PrintTable(series, peers);
  if (!json.empty())
    WriteJson(json, fmt::format("transfer_bench --seconds {}", seconds), series, peers);
}

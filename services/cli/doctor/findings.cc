#include "services/cli/doctor/findings.h"

#include <algorithm>
#include <map>

#include "common/config/units.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace baton::cli {
namespace {

constexpr char kSharedMemory[] = "shared memory";

// Fingerprints read <weights and arithmetic>/v<protocol>/P<block tokens>.
std::string HowToPair(const std::string& one, const std::string& other) {
  const auto blocks = [](const std::string& print) { return print.substr(print.rfind('/') + 1); };
  const auto weights = [](const std::string& print) { return print.substr(0, print.find('/')); };
  if (blocks(one) != blocks(other)) return "give both kinds of workers the same block_tokens";
  if (weights(one) == weights(other)) {
    return "they speak different versions of the protocol: finish the rollout";
  }
  return "give both the same weights, --dtype, --quantize, --kv-dtype and --isa, on processors of "
         "one kind; a "
         "rollout of new weights ends this by itself";
}

// One pass over the picture; each method adds findings of one kind.
class Doctor {
 public:
  Doctor(const ClusterPicture& picture, const std::string& own_version,
         const Thresholds& thresholds)
      : picture_(picture), own_version_(own_version), thresholds_(thresholds) {}

  std::vector<Finding> Examine() && {
    Roles();
    for (const WorkerPicture& worker : picture_.workers) Standing(worker);
    Pairs();
    Equals();
    for (const WorkerPicture& worker : picture_.workers) Computing(worker);
    for (const PathPicture& path : picture_.paths) Probed(path);
    for (const PathPicture& path : picture_.paths) Fallback(path);
    Slow();
    Versions();
    Clocks();
    return std::move(findings_);
  }

 private:
  void Roles();
  void Standing(const WorkerPicture& worker);
  void Pairs();
  void Equals();
  void Computing(const WorkerPicture& worker);
  void Probed(const PathPicture& path);
  void Fallback(const PathPicture& path);
  void Slow();
  void SlowPath(const PathPicture& path, double median);
  void Versions();
  void Clocks();
  void Clock(const std::string& whose, const ClockOffset& clock);

  const WorkerPicture& PrefillOf(const PathPicture& path) const {
    return picture_.workers[path.prefill];
  }
  const WorkerPicture& DecodeOf(const PathPicture& path) const {
    return picture_.workers[path.decode];
  }
  std::string NameOf(const PathPicture& path) const {
    return PrefillOf(path).id + " -> " + DecodeOf(path).id;
  }
  void Add(Finding finding) { findings_.push_back(std::move(finding)); }

  const ClusterPicture& picture_;
  const std::string& own_version_;
  const Thresholds& thresholds_;
  std::vector<Finding> findings_;
};

void Doctor::Roles() {
  for (const WorkerPicture& worker : picture_.workers) {
    if (worker.is_decode) return;
  }
  Add({.kind = "no-decode-worker",
       .subject = "cluster",
       .what = "no decode worker is attached to this router",
       .meaning = "every request is refused with 503",
       .advice = "start baton-decode-worker with --router set to this router's gRPC address; its "
                 "log says what stands in the way"});
}

void Doctor::Standing(const WorkerPicture& worker) {
  if (!worker.examined.ok()) {
    if (absl::IsUnimplemented(worker.examined)) {
      return Add({.kind = "version",
                  .subject = worker.id,
                  .what = "it does not know what `baton doctor` asks",
                  .meaning = "it is older than this program; its paths were not measured",
                  .advice = "finish the rollout, or use the `baton` of its version"});
    }
    return Add(
        {.kind = "silent-worker",
         .subject = worker.id,
         .what = fmt::format("no answer from {}: {}", worker.address, MessageOf(worker.examined)),
         .meaning = "requests go to others while it is silent; its share of the capacity is gone",
         .advice = "see whether its process is stopped (state T in ps), paged out or cut off from "
                   "this machine; kill it if it does not come back: its requests go on elsewhere"});
  }
  if (worker.suspect || !worker.reachable) {
    Add({.kind = "suspect-worker",
         .subject = worker.id,
         .what = worker.suspect
                     ? "it answers, but the router has missed its reports or its engine hangs"
                     : "it answers here, but the router's stream to it does not stand",
         .meaning = "the router gives it no work",
         .advice = "look for errors in its log and for what is between it and the router; "
                   "--advertise must name an address that the router can dial"});
  }
}

void Doctor::Pairs() {
  for (const WorkerPicture& decode : picture_.workers) {
    if (!decode.is_decode) continue;
    const WorkerPicture* other = nullptr;
    bool paired = false;
    for (const WorkerPicture& prefill : picture_.workers) {
      if (prefill.is_decode || prefill.model != decode.model) continue;
      if (picture_.ArePaired(prefill, decode)) paired = true;
      if (prefill.fingerprint != decode.fingerprint) other = &prefill;
    }
    if (paired || other == nullptr) continue;
    Add({.kind = "fingerprint",
         .subject = decode.id,
         .what = fmt::format("its fingerprint is {}, but {}'s is {}", decode.fingerprint, other->id,
                             other->fingerprint),
         .meaning = "no prefill worker is ever paired with it: it computes every prompt itself",
         .advice = HowToPair(decode.fingerprint, other->fingerprint)});
  }
}

// Only where all else is equal: two that differ in their weights are a rollout's.
void Doctor::Equals() {
  for (const WorkerPicture& worker : picture_.workers) {
    const WorkerPicture* other = nullptr;
    bool has_equal = false;
    for (const WorkerPicture& second : picture_.workers) {
      if (&second == &worker || !second.is_decode || !second.examined.ok()) continue;
      if (second.model != worker.model || second.fingerprint != worker.fingerprint) continue;
      if (second.token_fingerprint == worker.token_fingerprint) has_equal = true;
      other = &second;
    }
    if (!worker.is_decode || !worker.examined.ok() || has_equal || other == nullptr) continue;
    Add({.kind = "no-equal",
         .subject = worker.id,
         .what = fmt::format("no other decode worker generates the same tokens: it has {} ranks, "
                             "{} has {}",
                             worker.device.ranks_size(), other->id, other->device.ranks_size()),
         .meaning = "when it leaves or is lost, what it has begun cannot go on elsewhere",
         .advice = "give the decode workers of a model the same tensor_parallel_size"});
  }
}

void Doctor::Computing(const WorkerPicture& worker) {
  const v1::ComputeDevice& device = worker.device;
  if (device.kind() == "cpu" && device.gpus_present() > 0) {
    Add({.kind = "cpu-beside-gpu",
         .subject = worker.id,
         .what = fmt::format("it computes on the CPU ({}), though it is given {} GPU{}{}",
                             device.backend(), device.gpus_present(),
                             device.gpus_present() == 1 ? "" : "s",
                             device.why_no_gpu().empty() ? "" : ": " + device.why_no_gpu()),
         .meaning = "it is many times slower than it could be",
         .advice = device.why_no_gpu().empty()
                       ? "set its device to auto or cuda:N"
                       : "remove what stands in the way; device cuda:N makes it an error at "
                         "start"});
  }
  if (device.kv_access() != v1::KV_ACCESS_HOST_MIRROR) return;
  Add({.kind = "kv-staging",
       .subject = worker.id,
       .what = fmt::format("its KV goes through {}host memory: {}",
                           device.mirror_pinned() ? "" : "unpinned ", device.why_mirror()),
       .meaning =
           "every hand-over is copied over PCIe once more on its side, and takes host memory "
           "as large as its KV pool",
       .advice = device.mirror_pinned()
                     ? "count on the rate of PCIe"
                     : "let the process lock as much memory as its pool has (ulimit -l)"});
}

void Doctor::Probed(const PathPicture& path) {
  if (path.probed.ok() && path.intact) return;
  if (!path.probed.ok()) {
    return Add({.kind = "broken-path",
                .subject = NameOf(path),
                .what = fmt::format("the probe failed: {}", MessageOf(path.probed)),
                .meaning = "prompts meant to go this way are computed on the decode worker instead",
                .advice = fmt::format("{} must reach {}, and its transfer port; see that no "
                                      "firewall or network policy is between them",
                                      PrefillOf(path).id, DecodeOf(path).address)});
  }
  Add({.kind = "corrupt-path",
       .subject = NameOf(path),
       .what = fmt::format("other bytes arrived over {} than were sent", path.path),
       .meaning = "checksums find it block by block; such prompts are computed again",
       .advice = "take the machine with the broken memory or network card out of service"});
}

void Doctor::Fallback(const PathPicture& path) {
  if (!path.probed.ok() || path.path == kSharedMemory) return;
  const WorkerPicture& prefill = PrefillOf(path);
  const WorkerPicture& decode = DecodeOf(path);
  if (prefill.host_id == decode.host_id) {
    const bool by_prefill = prefill.transfer_path == "tcp";
    Add({.kind = "fallback",
         .subject = NameOf(path),
         .what = fmt::format("KV goes over {} ({:.2f} GB/s), though both share memory", path.path,
                             path.gigabytes_per_second()),
         .meaning = "hand-overs take longer and cost both sides processor time",
         .advice = by_prefill || decode.transfer_path == "tcp"
                       ? fmt::format("{} is set to transfer_path=tcp: set it to auto",
                                     by_prefill ? prefill.id : decode.id)
                       : "one of them was built without shared memory, or may not use it: see "
                         "its log at the start"});
  } else if (!prefill.rdma_devices.empty() && !decode.rdma_devices.empty()) {
    Add({.kind = "fallback",
         .subject = NameOf(path),
         .what = fmt::format("KV goes over {} ({:.2f} GB/s), though both machines have RDMA "
                             "devices ({}; {})",
                             path.path, path.gigabytes_per_second(),
                             fmt::join(prefill.rdma_devices, ", "),
                             fmt::join(decode.rdma_devices, ", ")),
         .meaning = "hand-overs take longer and cost both sides processor time",
         .advice = "this version has no option for RDMA: count on the rate above"});
  }
}

void Doctor::Slow() {
  std::map<std::string, std::vector<double>> rates;
  for (const PathPicture& path : picture_.paths) {
    if (path.probed.ok()) rates[path.path].push_back(path.best_gigabytes_per_second());
  }
  for (const PathPicture& path : picture_.paths) {
    if (!path.probed.ok()) continue;
    std::vector<double>& others = rates[path.path];
    std::sort(others.begin(), others.end());
    // Of two, neither is the odd one.
    SlowPath(path, others.size() > 2 ? others[others.size() / 2] : 0);
  }
}

void Doctor::SlowPath(const PathPicture& path, double median) {
  // The quickest round: what is left of a path when nobody else had the processor.
  const double rate = path.best_gigabytes_per_second();
  const double least =
      path.path == kSharedMemory ? thresholds_.shared_memory_gbps : thresholds_.network_gbps;
  if (rate < std::max(least, median * thresholds_.share_of_median)) {
    const bool alone = rate < least;
    Add({.kind = "slow-path",
         .subject = NameOf(path),
         .what = alone ? fmt::format("{:.3f} GB/s over {}, below {:g} GB/s", rate, path.path, least)
                       : fmt::format("{:.2f} GB/s over {}, the median of such paths is {:.2f}",
                                     rate, path.path, median),
         .meaning = "the router measures it, too, and sends fewer prompts this way",
         .advice = "ask again when the cluster is idle; then look for other load, a throttled "
                   "container or a slow link on these two machines"});
  }
  if (path.round_trip_ms > thresholds_.round_trip_ms) {
    Add({.kind = "slow-control",
         .subject = NameOf(path),
         .what = fmt::format("a call that does nothing takes {:.1f} ms, more than {:g} ms",
                             path.round_trip_ms, thresholds_.round_trip_ms),
         .meaning = "every remote prefill waits for it twice",
         .advice = "look for processes without processor time on either side, or a far network"});
  }
}

void Doctor::Versions() {
  std::map<std::string, std::vector<std::string>> who;
  if (!picture_.router_version.empty()) who[picture_.router_version].push_back("the router");
  for (const WorkerPicture& worker : picture_.workers) {
    if (!worker.version.empty()) who[worker.version].push_back(worker.id);
  }
  who[own_version_].push_back("this program");
  if (who.size() < 2) return;
  std::vector<std::string> parts;
  for (const auto& [version, names] : who) {
    parts.push_back(fmt::format("{}: {}", version, fmt::join(names, ", ")));
  }
  Add({.kind = "version",
       .subject = "cluster",
       .what = fmt::format("several versions run ({})", fmt::join(parts, "; ")),
       .meaning = "they serve side by side, but are never paired where their KV differs",
       .advice = "finish the rollout"});
}

void Doctor::Clocks() {
  if (picture_.router_clock) Clock("the router", *picture_.router_clock);
  for (const WorkerPicture& worker : picture_.workers) {
    if (worker.examined.ok()) Clock(worker.id, worker.clock);
  }
}

void Doctor::Clock(const std::string& whose, const ClockOffset& clock) {
  const absl::Duration least = absl::AbsDuration(clock.ahead) - clock.give_or_take;
  if (least <= thresholds_.clock_skew) return;
  const auto text = [](absl::Duration time) {
    return fmt::format("{:.3f} s", absl::ToDoubleSeconds(absl::AbsDuration(time)));
  };
  Add({.kind = "clock",
       .subject = whose,
       .what = fmt::format("its wall clock is {} {} of this machine's (± {})", text(clock.ahead),
                           clock.ahead > absl::ZeroDuration() ? "ahead" : "behind",
                           text(clock.give_or_take)),
       .meaning = "requests do not mind, but its logs and traces do not fit the others'",
       .advice = "run an NTP client there (chrony, systemd-timesyncd)"});
}

}  // namespace

std::vector<Finding> FindingsOf(const ClusterPicture& picture, const std::string& own_version,
                                const Thresholds& thresholds) {
  return Doctor(picture, own_version, thresholds).Examine();
}

}  // namespace baton::cli

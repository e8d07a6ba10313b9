#include "services/cli/doctor/doctor_report.h"

#include <string_view>

#include "common/config/units.h"
#include "common/rpc/convert.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace baton::cli {
namespace {

using Json = nlohmann::ordered_json;

// Three digits that count, whatever the size.
std::string Rate(double gbps) {
  if (gbps <= 0) return "-";
  return gbps >= 10 ? fmt::format("{:.1f}", gbps) : fmt::format("{:.2f}", gbps);
}

double Ms(absl::Duration time) { return absl::ToDoubleMilliseconds(time); }

std::string StateOf(const WorkerPicture& worker) {
  if (!worker.examined.ok()) return "silent";
  if (worker.suspect) return "suspect";
  if (!worker.reachable) return "unreachable";
  return worker.draining ? "draining" : "ready";
}

std::string WorkersText(const ClusterPicture& picture) {
  constexpr const char* kRow = "{:<24} {:<8} {:<12} {:<9} {:<20} {}\n";
  std::string text =
      fmt::format(kRow, "WORKER", "ROLE", "STATE", "VERSION", "CLOCK", "FINGERPRINT");
  for (const WorkerPicture& worker : picture.workers) {
    const std::string clock = worker.examined.ok()
                                  ? fmt::format("{:+.1f} ms ± {:.1f}", Ms(worker.clock.ahead),
                                                Ms(worker.clock.give_or_take))
                                  : "-";
    text += fmt::format(fmt::runtime(kRow), worker.id, worker.is_decode ? "decode" : "prefill",
                        StateOf(worker), worker.version.empty() ? "-" : worker.version, clock,
                        worker.fingerprint);
  }
  return text;
}

// "cuda:0 NVIDIA H200 (cuda:sm90:warpgroups)", "2 x cpu:avx512_bf16".
std::string DeviceText(const v1::ComputeDevice& device) {
  if (device.ranks().empty()) return "-";
  const v1::ComputeDevice::Rank& first = device.ranks(0);
  const std::string one = first.has_index() ? fmt::format("cuda:{} {} ({})", first.index(),
                                                          first.name(), device.backend())
                                            : device.backend();
  return device.ranks_size() == 1 ? one : fmt::format("{} x {}", device.ranks_size(), one);
}

// Of the fullest rank's device; "-": it computes in the machine's memory.
std::string MemoryText(const v1::ComputeDevice& device) {
  const v1::ComputeDevice::Rank* fullest = nullptr;
  for (const v1::ComputeDevice::Rank& rank : device.ranks()) {
    if (rank.memory_bytes() == 0) continue;
    if (fullest == nullptr || rank.memory_bytes_free() < fullest->memory_bytes_free()) {
      fullest = &rank;
    }
  }
  if (fullest == nullptr) return "-";
  const auto text = [](uint64_t bytes) {
    return config::RoundedBytesText(static_cast<int64_t>(bytes));
  };
  return fmt::format("{} of {}", text(fullest->memory_bytes_free()), text(fullest->memory_bytes()));
}

std::string DevicesText(const ClusterPicture& picture) {
  constexpr const char* kRow = "{:<24} {:<44} {:<22} {:<10} {:<12} {}\n";
  std::string text = fmt::format(kRow, "WORKER", "DEVICE", "MEMORY FREE", "CUDA", "KV", "RANKS BY");
  for (const WorkerPicture& worker : picture.workers) {
    const v1::ComputeDevice& device = worker.device;
    if (device.ranks().empty()) continue;
    const std::string cuda =
        device.kind() == "cuda"
            ? fmt::format("{}/{}", device.runtime_version(), device.driver_version())
            : "-";
    const std::string_view access = rpc::NameOf(device.kv_access());
    text += fmt::format(fmt::runtime(kRow), worker.id, DeviceText(device), MemoryText(device), cuda,
                        access.empty() ? "-" : access,
                        device.collective().empty() ? "-" : device.collective());
  }
  return text;
}

std::string PathsText(const ClusterPicture& picture, size_t paths_total) {
  if (picture.paths.empty()) return "No path between a prefill and a decode worker to measure.\n";
  constexpr const char* kRow = "{:<24} {:<24} {:<14} {:>8} {:>8} {:>11}  {}\n";
  std::string text =
      fmt::format(kRow, "PREFILL", "DECODE", "PATH", "GB/s", "best", "round trip", "bytes");
  for (const PathPicture& path : picture.paths) {
    const bool measured = path.probed.ok() && !path.round_ms.empty();
    text += fmt::format(fmt::runtime(kRow), picture.workers[path.prefill].id,
                        picture.workers[path.decode].id, measured ? path.path : "-",
                        Rate(path.gigabytes_per_second()), Rate(path.best_gigabytes_per_second()),
                        measured ? fmt::format("{:.2f} ms", path.round_trip_ms) : "-",
                        !measured     ? "not measured"
                        : path.intact ? "intact"
                                      : "CORRUPT");
  }
  if (picture.paths.size() < paths_total) {
    text += fmt::format("{} of {} paths; --paths {} measures all.\n", picture.paths.size(),
                        paths_total, paths_total);
  }
  return text;
}

Json ClockJson(const ClockOffset& clock) {
  return {{"ahead_ms", Ms(clock.ahead)}, {"give_or_take_ms", Ms(clock.give_or_take)}};
}

Json DeviceJson(const v1::ComputeDevice& device) {
  Json json{{"kind", device.kind()},
            {"backend", device.backend()},
            {"driver_version", device.driver_version()},
            {"runtime_version", device.runtime_version()},
            {"tensor_parallel_size", device.ranks_size()},
            {"collective", device.collective()},
            {"graphs", device.graphs()},
            {"warpgroups", device.warpgroups()},
            {"deterministic", device.deterministic()},
            {"kv_access", rpc::NameOf(device.kv_access())},
            {"why_mirror", device.why_mirror()},
            {"mirror_pinned", device.mirror_pinned()},
            {"why_no_gpu", device.why_no_gpu()},
            {"gpus_present", device.gpus_present()}};
  json["ranks"] = Json::array();
  for (const v1::ComputeDevice::Rank& rank : device.ranks()) {
    Json one{{"name", rank.name()}};
    if (rank.has_index()) one["index"] = rank.index();
    if (rank.memory_bytes() > 0) {
      one["memory_bytes"] = rank.memory_bytes();
      one["memory_bytes_free"] = rank.memory_bytes_free();
    }
    json["ranks"].push_back(std::move(one));
  }
  return json;
}

Json WorkerJson(const WorkerPicture& worker) {
  Json json{{"id", worker.id},
            {"role", worker.is_decode ? "decode" : "prefill"},
            {"state", StateOf(worker)},
            {"address", worker.address},
            {"fingerprint", worker.fingerprint}};
  if (!worker.examined.ok()) {
    json["error"] = MessageOf(worker.examined);
    return json;
  }
  json["version"] = worker.version;
  json["token_fingerprint"] = worker.token_fingerprint;
  json["transport"] = worker.transport;
  json["transfer_path"] = worker.transfer_path;
  json["rdma_devices"] = worker.rdma_devices;
  if (!worker.device.ranks().empty()) json["device"] = DeviceJson(worker.device);
  json["clock"] = ClockJson(worker.clock);
  return json;
}

Json PathJson(const ClusterPicture& picture, const PathPicture& path) {
  Json json{{"prefill", picture.workers[path.prefill].id},
            {"decode", picture.workers[path.decode].id}};
  if (!path.probed.ok()) {
    json["error"] = MessageOf(path.probed);
    return json;
  }
  json["path"] = path.path;
  json["gigabytes_per_second"] = path.gigabytes_per_second();
  json["best_gigabytes_per_second"] = path.best_gigabytes_per_second();
  json["round_bytes"] = path.round_bytes;
  json["round_ms"] = path.round_ms;
  json["round_trip_ms"] = path.round_trip_ms;
  json["intact"] = path.intact;
  return json;
}

}  // namespace

std::string DoctorText(const ClusterPicture& picture, size_t paths_total,
                       const std::vector<Finding>& findings) {
  std::string text = WorkersText(picture) + "\n" + DevicesText(picture) + "\n" +
                     PathsText(picture, paths_total) + "\n";
  if (findings.empty()) return text + "All is well.\n";
  text += fmt::format("{} finding{}:\n", findings.size(), findings.size() == 1 ? "" : "s");
  for (const Finding& finding : findings) {
    text += fmt::format("\n  {}: {}\n    means  {}\n    do     {}\n", finding.subject, finding.what,
                        finding.meaning, finding.advice);
  }
  return text;
}

std::string DoctorJson(const ClusterPicture& picture, size_t paths_total,
                       const std::vector<Finding>& findings) {
  Json json{{"healthy", findings.empty()}, {"router_version", picture.router_version}};
  if (picture.router_clock) json["router_clock"] = ClockJson(*picture.router_clock);
  json["workers"] = Json::array();
  for (const WorkerPicture& worker : picture.workers) json["workers"].push_back(WorkerJson(worker));
  json["paths_total"] = paths_total;
  json["paths"] = Json::array();
  for (const PathPicture& path : picture.paths) json["paths"].push_back(PathJson(picture, path));
  json["findings"] = Json::array();
  for (const Finding& finding : findings) {
    json["findings"].push_back({{"kind", finding.kind},
                                {"subject", finding.subject},
                                {"what", finding.what},
                                {"meaning", finding.meaning},
                                {"advice", finding.advice}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace baton::cli

#include "common/worker/load_report.h"

namespace baton::worker {
namespace {

constexpr absl::Duration kQuick = absl::Seconds(1);
constexpr absl::Duration kSilenceMax = absl::Seconds(5);

}  // namespace

std::optional<LoadReport::Line> LoadReport::After(int64_t done_bytes, int64_t total_bytes) {
  const absl::Duration now = clock_.Monotonic();
  if (now - began_ < kQuick) return std::nullopt;
  const int percent = total_bytes > 0 ? static_cast<int>(done_bytes * 100 / total_bytes) : 100;
  if (percent / 10 == tenth_ && now - last_ < kSilenceMax) return std::nullopt;
  tenth_ = percent / 10;
  last_ = now;
  const double seconds = absl::ToDoubleSeconds(now - began_);
  return Line{
      .percent = percent,
      .done_bytes = done_bytes,
      .total_bytes = total_bytes,
      .gigabytes_per_second = seconds > 0 ? static_cast<double>(done_bytes) / seconds / 1e9 : 0};
}

}  // namespace baton::worker

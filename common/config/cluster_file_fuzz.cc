// Any bytes as a cluster file: an answer, never a crash, and errors that begin with the file's
// name.
#include <cstddef>
#include <cstdint>

#include "common/base/check.h"
#include "common/config/cluster_options.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  baton::config::ClusterOptions options;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const absl::Status status = baton::config::ReadClusterText(text, "f.yaml", options.schema());
  CHECK(status.ok() || baton::MessageOf(status).starts_with("f.yaml:"), "{}",
        baton::MessageOf(status));
  return 0;
}

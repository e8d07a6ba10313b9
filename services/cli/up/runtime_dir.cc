#include "services/cli/up/runtime_dir.h"

#include <stdlib.h>
#include <string.h>

#include <cerrno>
#include <filesystem>

namespace baton::cli {

absl::StatusOr<std::unique_ptr<RuntimeDir>> RuntimeDir::Private() {
  std::error_code error;
  for (const char* variable : {"XDG_RUNTIME_DIR", "TMPDIR"}) {
    const char* parent = std::getenv(variable);
    if (parent == nullptr || !std::filesystem::is_directory(parent, error)) continue;
    std::string path = std::string(parent) + "/baton-XXXXXX";
    if (mkdtemp(path.data()) != nullptr) {
      return std::unique_ptr<RuntimeDir>(new RuntimeDir(path, /*remove=*/true));
    }
  }
  std::string path = std::filesystem::temp_directory_path(error).string() + "/baton-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return FailedPrecondition("cannot make a folder for logs as {}: {}", path, strerror(errno));
  }
  return std::unique_ptr<RuntimeDir>(new RuntimeDir(path, /*remove=*/true));
}

absl::StatusOr<std::unique_ptr<RuntimeDir>> RuntimeDir::Named(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!std::filesystem::is_directory(path)) {
    return InvalidArgument("--runtime-dir {}: cannot be made: {}", path, error.message());
  }
  return std::unique_ptr<RuntimeDir>(new RuntimeDir(path, /*remove=*/false));
}

RuntimeDir::~RuntimeDir() {
  std::error_code ignored;
  if (remove_) std::filesystem::remove_all(path_, ignored);
}

}  // namespace baton::cli

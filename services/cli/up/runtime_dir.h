#pragma once

#include <memory>
#include <string>

#include "common/base/status.h"

namespace baton::cli {

// A private folder for one cluster's logs and port files. A made-up one goes with this object; a
// named one stays.
class RuntimeDir {
 public:
  // Under $XDG_RUNTIME_DIR, else $TMPDIR, else the system's folder for temporary files.
  static absl::StatusOr<std::unique_ptr<RuntimeDir>> Private();
  // Made when missing.
  static absl::StatusOr<std::unique_ptr<RuntimeDir>> Named(const std::string& path);
  ~RuntimeDir();

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  RuntimeDir(std::string path, bool remove) : path_(std::move(path)), remove_(remove) {}
  const std::string path_;
  const bool remove_;
};

}  // namespace baton::cli

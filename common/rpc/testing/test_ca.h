#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/config/tls_options.h"

namespace baton::rpc {

// A certification authority for a test, with a key of its own, in a folder of its own. Failures end
// the test's process.
class TestCa {
 public:
  // `folder`: made when it is not there; files of the same name are replaced.
  explicit TestCa(std::string folder);
  ~TestCa();

  struct Ask {
    std::vector<std::string> names;  // DNS names and, with digits, IP addresses
    absl::Duration valid_from = -absl::Hours(1);
    absl::Duration valid_until = absl::Hours(1);
  };
  // Writes NAME.crt and NAME.key; with ca.crt they are a process's options. Each file is replaced
  // at once, as a mounted secret is.
  config::TlsOptions Issue(const std::string& name, const Ask& ask) const;
  std::string ca_file() const { return folder_ + "/ca.crt"; }

 private:
  struct Pair;
  const std::string folder_;
  std::unique_ptr<Pair> ca_;
};

}  // namespace baton::rpc

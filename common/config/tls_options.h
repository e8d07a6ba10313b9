#pragma once

#include <string>
#include <string_view>

#include "common/base/status.h"
#include "common/config/option_set.h"

namespace baton::config {

// How a process proves to the others of its cluster who it is, and whom it believes: PEM files, all
// three or none. Read again when they change.
struct TlsOptions {
  std::string certificate;  // with its chain; names a role, see docs/operations/security.md
  std::string key;
  std::string ca;  // whose certificates the others have; its own, not the machine's

  bool on() const { return !certificate.empty(); }
  void AddTo(OptionSet& set);
  absl::Status Validate(std::string_view section) const;
};

}  // namespace baton::config

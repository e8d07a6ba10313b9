#pragma once

#include <cstdint>

#include "common/config/option_set.h"

namespace baton::config {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarning, kError };
enum class LogFormat : uint8_t { kText, kJson };

// Part of every long-running process's section.
struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;

  void AddTo(OptionSet& set);
};

}  // namespace baton::config

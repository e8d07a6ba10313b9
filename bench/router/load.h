#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace baton::bench {

// Streamed chats over HTTP, a fixed number of them under way at any time.
struct LoadOptions {
  std::string address;  // host:port of what speaks the OpenAI API
  std::string model = "baton-demo";
  int concurrency = 1;
  int requests = 100;
  int prompt_bytes = 1300;
  int token_ids = 0;     // instead of text: so many tokens, to be completed and not encoded
  int shared_bytes = 0;  // of them: what all prompts begin with
  int max_tokens = 1;
  bool no_delay = true;  // TCP_NODELAY, as most clients set it
};

struct LoadResult {
  double seconds = 0;                // from the first request to the end of the last answer
  std::vector<absl::Duration> ttft;  // to the first event that has text
  std::vector<absl::Duration> total;
  int failed = 0;  // any status but 200, or a connection that broke
  std::string first_failure;
};

// One thread, one connection per request under way, kept from request to request.
LoadResult Run(const LoadOptions& options);

}  // namespace baton::bench

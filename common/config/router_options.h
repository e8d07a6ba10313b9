#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "common/config/address.h"
#include "common/config/log_options.h"
#include "common/config/option_set.h"
#include "common/config/queue_options.h"
#include "common/config/tls_options.h"
#include "common/config/units.h"

namespace baton::config {

// Who may use the router's admin API: callers on the same machine, everybody, nobody.
enum class AdminAccess : uint8_t { kLoopback, kAny, kOff };

// Section `router`: the front door.
struct RouterOptions {
  Address http{"127.0.0.1", 8000};
  Address grpc{"127.0.0.1", 9000};  // clients' gRPC and the workers' registration
  // Models beside that of section `model`, by name: Hugging Face folders, of which a router needs
  // the tokenizer. Each is served by the workers of that name.
  std::map<std::string, std::string> models;
  std::string placement = "cost";                      // a policy's name
  std::map<std::string, std::string> model_placement;  // model: its own policy
  absl::Duration itl_target;  // placement: a pause between tokens that harms nobody; 0: any does
  AdminAccess admin = AdminAccess::kLoopback;
  TlsOptions tls;                    // of gRPC
  std::string http_tls_certificate;  // of HTTP, with http_tls_key; empty: plain
  std::string http_tls_key;
  std::string api_keys_file;  // who may speak at both doors; empty: everybody
  QueueOptions queue;

  // Limits. Beyond them: 413, 429, 431 or 503 at once.
  Bytes body_bytes_max = MiB(8);
  Bytes header_bytes_max = KiB(32);
  int32_t json_depth_max = 64;
  int32_t connections_max = 4096;
  int32_t inflight_requests_max = 1024;
  Bytes stream_buffer_bytes_max =
      MiB(1);  // unsent output per client; beyond it the client is cut off

  absl::Duration header_timeout =
      absl::Seconds(10);  // from connection (or last answer) to a whole header
  absl::Duration body_timeout = absl::Seconds(30);  // for a whole body
  absl::Duration send_timeout = absl::Seconds(30);  // a client that does not read
  absl::Duration stream_keepalive =
      absl::Seconds(15);  // a silent stream gets a comment so often; 0: never
  absl::Duration request_timeout = absl::Minutes(10);  // whole request; 0: none
  absl::Duration resume_timeout =
      absl::Seconds(30);  // a running request whose worker died waits so long for another
  absl::Duration drain_timeout = absl::Seconds(30);

  int32_t http_threads = 2;
  int32_t text_threads = 0;      // tokenizing; 0: half of the cores
  int32_t decisions_kept = 256;  // shown by /debug/cluster
  std::string ports_file;        // empty: none

  std::string trace_endpoint;  // collector: grpc://host:port or http://host:port[/path]; empty: off
  double trace_ratio = 1;      // of requests without a trace context of their client's
  // Requests that took longer are traced whatever the ratio; 0: none is for that.
  absl::Duration trace_slow = absl::Seconds(60);
  absl::Duration trace_slow_ttft = absl::Seconds(5);
  LogOptions log;

  void AddTo(OptionSet& set);
  // What no single option can see: INVALID_ARGUMENT names it.
  absl::Status Validate() const;
};

}  // namespace baton::config

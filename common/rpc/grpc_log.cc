#include "common/rpc/grpc_log.h"

#include <grpc/support/log.h>

#include <map>
#include <mutex>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/telemetry/logging.h"

namespace baton::rpc {
namespace {

constexpr absl::Duration kSayAgainAfter = absl::Seconds(10);
constexpr size_t kRememberedMax = 64;

constexpr char kHandshakeFailed[] = "Security handshake failed";
constexpr char kWentAway[] =
    "the other side went away: it may not believe our certificate (its log says so then), or it "
    "looked only whether somebody listens";

// OpenSSL's and gRPC's words, and what they mean here.
struct Meaning {
  std::string_view words;
  std::string_view why;
};
constexpr Meaning kMeanings[] = {
    {"certificate verify failed",
     "the other side's certificate is not of this side's tls_ca, or has expired"},
    // A CA of the same name and with another key: Helm's was made again, say.
    {"asn1 encoding routines::EVP lib",
     "the other side's certificate is of another CA with the name of this side's tls_ca"},
    {"unknown ca", "the other side refused our certificate: it is not of its tls_ca"},
    {"certificate expired", "the other side refused our certificate: it has expired"},
    {"bad certificate", "the other side refused our certificate"},
    {"certificate unknown", "the other side refused our certificate"},
    {"did not return a certificate",
     "the other side has no certificate: give it tls_certificate, tls_key and tls_ca"},
    {"certificate required",
     "the other side wants a certificate: give tls_certificate, tls_key and tls_ca"},
    {"wrong version number", "the other side speaks no TLS: it is on at one side only"},
    {"http request", "the other side speaks no TLS: it is on at one side only"},
    {"Handshake read failed", kWentAway},
    {"Socket closed", kWentAway},
    {"Hostname Verification Check failed",
     "the other side's certificate does not have the DNS name of its role"},
    {"No match found for server name",
     "the other side's certificate does not have the DNS name of its role"},
};

// True when this was not said lately.
bool IsNews(const std::string& message) {
  static absl::Mutex mutex;
  static auto& said = *new std::map<std::string, absl::Duration>;
  const absl::Duration now = Clock::Real().Monotonic();
  absl::MutexLock lock(&mutex);
  if (const auto found = said.find(message);
      found != said.end() && now - found->second < kSayAgainAfter) {
    return false;
  }
  if (said.size() >= kRememberedMax) said.clear();
  said[message] = now;
  return true;
}

void ToOurLog(gpr_log_func_args* args) {
  const std::string message = args->message;
  // gRPC takes this one for debugging; it comes at both sides, and beside the errors at one of
  // them.
  if (args->severity != GPR_LOG_SEVERITY_ERROR && !message.starts_with(kHandshakeFailed)) return;
  const std::string_view why = WhyHandshakeFailed(message);
  if (why.empty() && args->severity != GPR_LOG_SEVERITY_ERROR) return;
  // Its own words may have the time in them.
  if (!IsNews(why.empty() ? message : std::string(why))) return;
  if (why.empty()) return telemetry::LogWarning("grpc", message);
  telemetry::LogWarning("grpc", "a TLS handshake failed", {{"why", why}, {"error", message}});
}

}  // namespace

void LogByGrpcGoesToOurs() {
  static std::once_flag once;
  std::call_once(once, [] {
    gpr_set_log_function(ToOurLog);
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_DEBUG);  // a few lines at start, none per call
  });
}

std::string_view WhyHandshakeFailed(std::string_view message) {
  for (const Meaning& meaning : kMeanings) {
    if (message.find(meaning.words) != std::string_view::npos) return meaning.why;
  }
  return {};
}

}  // namespace baton::rpc

#include "common/worker/router_links.h"

#include <algorithm>

#include "common/rpc/convert.h"
#include "common/rpc/grpc_log.h"
#include "common/rpc/resolve.h"
#include "common/telemetry/logging.h"
#include "common/worker/attach_stream.h"
#include "fmt/ranges.h"

namespace baton::worker {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(100);
constexpr absl::Duration kResolveEvery = absl::Seconds(5);
constexpr absl::Duration kAloneAtMost = absl::Seconds(5);

bool IsLoopbackName(const std::string& address) { return address.rfind("localhost:", 0) == 0; }

}  // namespace

RouterLinks::RouterLinks(std::vector<std::string> addresses, v1::Registration registration,
                         RouterWishes wishes, rpc::Credentials credentials, const Clock& clock)
    : addresses_(std::move(addresses)),
      registration_(std::move(registration)),
      wishes_(std::move(wishes)),
      credentials_(std::move(credentials)),
      clock_(clock),
      alone_since_(clock.Monotonic()),
      thread_([this] { Run(); }) {}

RouterLinks::~RouterLinks() { Stop(); }

void RouterLinks::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
  std::vector<std::shared_ptr<RouterLink>> links;  // destroyed outside of the lock
  absl::MutexLock lock(&mutex_);
  links.swap(links_);
}

void RouterLinks::Run() {
  const auto stopping = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_; };
  absl::Duration resolve_at = absl::ZeroDuration();
  while (true) {
    if (clock_.Monotonic() >= resolve_at) {
      Resolve();
      resolve_at = clock_.Monotonic() + kResolveEvery;
    }
    std::vector<std::shared_ptr<RouterLink>> links;
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&stopping), kTick)) return;
      links = links_;
    }
    for (const auto& link : links) link->Tick();
    WarnWhenAlone();
  }
}

void RouterLinks::WarnWhenAlone() {
  const absl::Duration now = clock_.Monotonic();
  if (addresses_.empty() || connected() > 0) {
    alone_since_ = now;
    warned_ = false;
    return;
  }
  if (warned_ || now - alone_since_ < kAloneAtMost) return;
  warned_ = true;
  telemetry::LogWarning(
      "router_links", "no router has this worker: it is given no work",
      {{"routers", fmt::format("{}", fmt::join(addresses_, ", "))}, {"because", WhyAlone()}});
}

std::string RouterLinks::WhyAlone() const {
  std::string error;
  {
    absl::MutexLock lock(&mutex_);
    if (links_.empty()) return "the name has no address";
    for (const auto& link : links_) {
      if (error.empty()) error = link->last_error();
    }
  }
  if (const std::string_view why = rpc::WhyHandshakeFailed(error); !why.empty()) {
    return fmt::format("{} ({})", why, error);
  }
  constexpr char kNobody[] = "nobody answers there, or a network policy or firewall is in between";
  return error.empty() ? kNobody : fmt::format("{} ({})", kNobody, error);
}

void RouterLinks::Resolve() {
  std::vector<std::string> wanted;
  for (const std::string& address : addresses_) {
    // "localhost" has two numeric addresses and one router: let gRPC choose.
    std::vector<std::string> found =
        IsLoopbackName(address) ? std::vector<std::string>{address} : rpc::Resolve(address);
    wanted.insert(wanted.end(), found.begin(), found.end());
  }
  std::vector<std::shared_ptr<RouterLink>> gone;  // destroyed outside of the lock
  absl::MutexLock lock(&mutex_);
  for (auto at = links_.begin(); at != links_.end();) {
    const bool still = std::find(wanted.begin(), wanted.end(), (*at)->address()) != wanted.end();
    // A name that does not resolve for a moment is no reason to leave a router that answers.
    if (still || (*at)->connected()) {
      ++at;
    } else {
      gone.push_back(std::move(*at));
      at = links_.erase(at);
    }
  }
  for (const std::string& address : wanted) {
    const auto same = [&](const auto& link) { return link->address() == address; };
    if (std::none_of(links_.begin(), links_.end(), same)) {
      links_.push_back(std::make_shared<RouterLink>(
          address, AttachStream::To(address, credentials_), registration_, wishes_, clock_));
      links_.back()->SetStalled(stalled_);
    }
  }
}

void RouterLinks::SendLoad(const v1::Load& load) {
  absl::MutexLock lock(&mutex_);
  for (const auto& link : links_) link->SendLoad(load);
}

void RouterLinks::SendKvEvents(const engine::KvEvents& events) {
  const auto shared = std::make_shared<const v1::KvEvents>(rpc::ToProto(events));
  absl::MutexLock lock(&mutex_);
  for (const auto& link : links_) link->SendKvEvents(shared);
}

void RouterLinks::SendDraining() {
  absl::MutexLock lock(&mutex_);
  for (const auto& link : links_) link->SendDraining();
}

void RouterLinks::SetStalled(bool stalled) {
  absl::MutexLock lock(&mutex_);
  stalled_ = stalled;
  for (const auto& link : links_) link->SetStalled(stalled);
}

int32_t RouterLinks::connected() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int32_t>(std::count_if(links_.begin(), links_.end(),
                                            [](const auto& link) { return link->connected(); }));
}

}  // namespace baton::worker

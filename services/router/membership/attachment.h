#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "baton/v1/cluster.pb.h"
#include "common/base/status.h"
#include "services/router/membership/roster.h"

namespace baton::router {

// One worker's stay, from its registration to the end of its stream: turns its reports into entries
// of the roster. Reports come one at a time; Leave() may come beside one.
class Attachment {
 public:
  // `notify` sends a notice to the worker; it must not block. The roster outlives this.
  Attachment(Roster& roster, std::string router_id, std::function<void(v1::RouterNotice)> notify)
      : roster_(roster), router_id_(std::move(router_id)), notify_(std::move(notify)) {}

  // An error ends the stream: it says what is wrong with the report.
  absl::Status Take(const v1::WorkerReport& report);
  // The stream is over, or about to be. Only the first time counts.
  void Leave();
  const WorkerId& worker() const { return id_; }

 private:
  absl::Status Register(const v1::Registration& registration);
  void TakeKvEvents(const v1::KvEvents& proto);

  Roster& roster_;
  const std::string router_id_;
  const std::function<void(v1::RouterNotice)> notify_;
  WorkerId id_;                         // written once, before stay_
  std::atomic<Roster::Stay> stay_ = 0;  // 0: not registered
  std::atomic<bool> left_ = false;
};

}  // namespace baton::router

#pragma once

#include <memory>
#include <string>

#include "common/worker/report_stream.h"
#include "services/router/membership/attachment.h"
#include "tests/simulation/network/network.h"

namespace baton::simulation {

// What a router does with the workers that dial it.
class ReportListener {
 public:
  virtual ~ReportListener() = default;
  virtual void AcceptReports(const std::shared_ptr<Wire>& wire) = 0;
};

// The worker's end of an Attach stream.
class SimReportStream : public worker::ReportStream,
                        public std::enable_shared_from_this<SimReportStream> {
 public:
  SimReportStream(Network& network, std::shared_ptr<Process> process, std::string address,
                  worker::ReportStreamListener& listener)
      : network_(network),
        process_(std::move(process)),
        address_(std::move(address)),
        listener_(listener) {}

  void Start() override;
  void Write(v1::WorkerReport report) override;
  void Cancel() override;
  // A notice has arrived.
  void Take(const v1::RouterNotice& notice) { listener_.OnNotice(notice); }

 private:
  void End(const std::string& why);

  Network& network_;
  const std::shared_ptr<Process> process_;
  const std::string address_;
  worker::ReportStreamListener& listener_;
  std::shared_ptr<Wire> wire_;
  std::shared_ptr<SimReportStream> self_;  // until it has ended
};

// The router's end of one.
class SimAttachCall : public std::enable_shared_from_this<SimAttachCall> {
 public:
  SimAttachCall(router::Roster& roster, const std::string& router_id,
                const std::shared_ptr<Wire>& wire);
  void Take(const v1::WorkerReport& report);
  // The stream is over, or the router is.
  void End();
  bool ended() const { return ended_; }
  // Where its notices are taken; on the other side of the wire.
  std::weak_ptr<SimReportStream> worker;
  const WorkerId& id() const { return attachment_.worker(); }

 private:
  const std::weak_ptr<Wire> wire_;  // which owns this
  router::Attachment attachment_;
  bool ended_ = false;
};

}  // namespace baton::simulation

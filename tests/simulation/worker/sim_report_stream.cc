#include "tests/simulation/worker/sim_report_stream.h"

#include <utility>

namespace baton::simulation {

void SimReportStream::Start() {
  self_ = shared_from_this();
  wire_ = network_.Dial(process_, address_, [](void* listener, const std::shared_ptr<Wire>& wire) {
    static_cast<ReportListener*>(listener)->AcceptReports(wire);
  });
  wire_->OnBroken(Wire::kDialer, [this](const absl::Status& why) { End(MessageOf(why)); });
}

// The wire's listening end has put its call there before the first report arrives.
void SimReportStream::Write(v1::WorkerReport report) {
  auto moved = std::make_shared<v1::WorkerReport>(std::move(report));
  wire_->Send(
      Wire::kDialer, "report",
      [wire = wire_.get(), moved, self = weak_from_this()] {
        const auto call = std::static_pointer_cast<SimAttachCall>(wire->listener_state);
        call->worker = self;
        call->Take(*moved);
      },
      [this, self = shared_from_this()] { listener_.OnWritten(); });
}

void SimReportStream::Cancel() {
  if (wire_->usable(Wire::kDialer)) wire_->Close(Wire::kDialer);
  End("cancelled");
}

void SimReportStream::End(const std::string& why) {
  if (self_ == nullptr) return;
  const auto keep = std::move(self_);
  listener_.OnEnding();
  listener_.OnClosed(why);
}

SimAttachCall::SimAttachCall(router::Roster& roster, const std::string& router_id,
                             const std::shared_ptr<Wire>& wire)
    : wire_(wire), attachment_(roster, router_id, [this](v1::RouterNotice notice) {
        const auto wire = wire_.lock();
        if (wire == nullptr) return;
        wire->Send(Wire::kListener, "notice", [to = this->worker, moved = std::move(notice)] {
          if (const auto stream = to.lock()) stream->Take(moved);
        });
      }) {}

void SimAttachCall::Take(const v1::WorkerReport& report) {
  if (ended_) return;
  if (!attachment_.Take(report).ok()) {
    if (const auto wire = wire_.lock()) wire->Close(Wire::kListener);
    End();
  }
}

void SimAttachCall::End() {
  if (std::exchange(ended_, true)) return;
  attachment_.Leave();
}

}  // namespace baton::simulation

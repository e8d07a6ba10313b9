#include "tests/contract/router/fake_worker.h"

#include <utility>

#include "common/base/check.h"
#include "common/rpc/channel.h"

namespace baton::router {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(20);

void AddToken(int32_t token, v1::SequenceDelta& delta) {
  v1::GeneratedToken& out = *delta.add_tokens();
  out.set_token(token);
  out.set_logprob(-0.5f);
  v1::TokenChance& chance = *out.add_top();
  chance.set_token(token);
  chance.set_logprob(-0.5f);
}

}  // namespace

FakeDecodeWorker::FakeDecodeWorker() {
  auto server = rpc::StartServer({.listen = "127.0.0.1:0"}, {this});
  CHECK_OK(server.status());
  server_ = *std::move(server);
}

FakeDecodeWorker::~FakeDecodeWorker() { Die(); }

void FakeDecodeWorker::Die() {
  server_.server->Shutdown(std::chrono::system_clock::now());
  server_.server->Wait();
}

FakeDecodeWorker::Seen FakeDecodeWorker::seen() {
  absl::MutexLock lock(&mutex_);
  return seen_;
}

bool FakeDecodeWorker::WaitFor(const std::function<bool(const Seen&)>& condition) {
  absl::MutexLock lock(&mutex_);
  const auto holds = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return condition(seen_); };
  return mutex_.AwaitWithTimeout(absl::Condition(&holds), kPatience);
}

v1::SubmitSequences FakeDecodeWorker::WaitForSubmit(size_t index) {
  CHECK(WaitFor([&](const Seen& seen) { return seen.submits.size() > index; }),
        "submission {} did not arrive", index);
  return seen().submits[index];
}

bool FakeDecodeWorker::Send(const v1::DecodeEvent& event) {
  absl::MutexLock lock(&mutex_);
  return stream_ != nullptr && stream_->Write(event);
}

bool FakeDecodeWorker::Tokens(const std::string& request, int choice,
                              const std::vector<int32_t>& tokens, v1::FinishReason finish) {
  v1::DecodeEvent event;
  v1::SequenceDelta* delta = event.add_deltas();
  delta->set_request_id(request);
  delta->set_choice(choice);
  for (const int32_t token : tokens) AddToken(token, *delta);
  delta->set_finish(finish);
  return Send(event);
}

bool FakeDecodeWorker::Error(const std::string& request, int choice, int code,
                             const std::string& message) {
  v1::DecodeEvent event;
  v1::SequenceDelta* delta = event.add_deltas();
  delta->set_request_id(request);
  delta->set_choice(choice);
  delta->set_finish(v1::FINISH_REASON_ERROR);
  delta->set_status_code(code);
  delta->set_status_message(message);
  return Send(event);
}

void FakeDecodeWorker::AnswerAll(std::vector<int32_t> tokens, v1::FinishReason finish) {
  absl::MutexLock lock(&mutex_);
  error_.first = 0;
  answer_ = std::move(tokens);
  answer_finish_ = finish;
}

void FakeDecodeWorker::FailAll(int code, const std::string& message) {
  absl::MutexLock lock(&mutex_);
  error_ = {code, message};
}

void FakeDecodeWorker::Answer(const v1::SubmitSequences& submit) {
  std::vector<int32_t> answer;
  std::pair<int, std::string> error;
  v1::FinishReason finish;
  {
    absl::MutexLock lock(&mutex_);
    answer = answer_;
    finish = answer_finish_;
    error = error_;
  }
  for (const v1::Sequence& sequence : submit.sequences()) {
    if (error.first != 0) {
      (void)Error(sequence.request_id(), sequence.choice(), error.first, error.second);
    }
  }
  if (error.first != 0) return;
  for (size_t i = 0; i < answer.size(); ++i) {
    v1::DecodeEvent event;
    for (const v1::Sequence& sequence : submit.sequences()) {
      v1::SequenceDelta& delta = *event.add_deltas();
      delta.set_request_id(sequence.request_id());
      delta.set_choice(sequence.choice());
      AddToken(answer[i], delta);
      if (i == 0) delta.mutable_times();
      if (i + 1 == answer.size()) delta.set_finish(finish);
    }
    (void)Send(event);
  }
}

grpc::Status FakeDecodeWorker::Serve(
    grpc::ServerContext* context,
    grpc::ServerReaderWriter<v1::DecodeEvent, v1::DecodeCommand>* stream) {
  {
    absl::MutexLock lock(&mutex_);
    stream_ = stream;
    ++seen_.streams;
  }
  v1::DecodeCommand command;
  while (stream->Read(&command)) {
    bool submitted = false;
    {
      absl::MutexLock lock(&mutex_);
      submitted = command.has_submit();
      if (command.has_submit()) seen_.submits.push_back(command.submit());
      if (command.has_cancel()) seen_.cancels.push_back(command.cancel());
      if (command.has_leave()) seen_.leaves.push_back(command.leave());
    }
    if (submitted) Answer(command.submit());
  }
  absl::MutexLock lock(&mutex_);
  if (stream_ == stream) stream_ = nullptr;
  --seen_.streams;
  return grpc::Status::OK;
}

FakeAttachment::FakeAttachment(const std::string& router, v1::Registration registration)
    : stub_(v1::Cluster::NewStub(rpc::PeerChannel(router))) {
  stream_ = stub_->Attach(&context_);
  v1::WorkerReport report;
  *report.mutable_registration() = std::move(registration);
  Report(report);
  reader_ = std::thread([this] { ReadNotices(); });
}

FakeAttachment::~FakeAttachment() {
  Break();
  (void)Wait();
}

void FakeAttachment::ReadNotices() {
  v1::RouterNotice notice;
  while (stream_->Read(&notice)) {
    absl::MutexLock lock(&mutex_);
    welcome_ = welcome_ || notice.has_welcome();
    asked_to_drain_ = asked_to_drain_ || notice.has_drain();
    snapshot_requests_ += notice.has_snapshot_request() ? 1 : 0;
  }
  status_ = stream_->Finish();
}

void FakeAttachment::Report(const v1::WorkerReport& report) { (void)stream_->Write(report); }

void FakeAttachment::ReportLoad(const v1::Load& load) {
  v1::WorkerReport report;
  *report.mutable_load() = load;
  Report(report);
}

int FakeAttachment::snapshot_requests() {
  absl::MutexLock lock(&mutex_);
  return snapshot_requests_;
}

bool FakeAttachment::WaitForSnapshotRequest(int count) {
  absl::MutexLock lock(&mutex_);
  const auto come = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return snapshot_requests_ >= count;
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&come), kPatience);
}

bool FakeAttachment::WaitForWelcome() {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&welcome_), kPatience);
}

bool FakeAttachment::WaitForDrainRequest() {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&asked_to_drain_), kPatience);
}

void FakeAttachment::Break() { context_.TryCancel(); }

grpc::Status FakeAttachment::Wait() {
  if (reader_.joinable()) reader_.join();
  return status_;
}

}  // namespace baton::router

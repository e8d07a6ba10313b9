#include "tests/overload/paced_worker.h"

#include "common/base/check.h"

namespace baton::bench {

PacedWorker::PacedWorker(const Options& options) : options_(options) {
  auto server = rpc::StartServer({.listen = "127.0.0.1:0"}, {this});
  CHECK_OK(server.status());
  server_ = *std::move(server);
  stepper_ = std::thread([this] {
    absl::Time next = absl::Now();
    while (!stop_) {
      absl::SleepFor((next += options_.step) - absl::Now());
      Step();
    }
  });
}

PacedWorker::~PacedWorker() {
  stop_ = true;
  stepper_.join();
  server_.server->Shutdown(std::chrono::system_clock::now());
  server_.server->Wait();
}

v1::Load PacedWorker::CurrentLoad() {
  absl::MutexLock lock(&mutex_);
  v1::Load load;
  load.set_running(static_cast<int32_t>(running_.size()));
  load.set_waiting(static_cast<int32_t>(waiting_.size()));
  return load;
}

grpc::Status PacedWorker::Serve(
    grpc::ServerContext* context,
    grpc::ServerReaderWriter<v1::DecodeEvent, v1::DecodeCommand>* stream) {
  {
    absl::MutexLock lock(&mutex_);
    stream_ = stream;
  }
  v1::DecodeCommand command;
  while (stream->Read(&command)) Take(command);
  absl::MutexLock lock(&mutex_);
  stream_ = nullptr;
  return grpc::Status::OK;
}

void PacedWorker::Take(const v1::DecodeCommand& command) {
  absl::MutexLock lock(&mutex_);
  for (const v1::Sequence& sequence : command.submit().sequences()) {
    waiting_.push_back({.request = sequence.request_id(),
                        .choice = sequence.choice(),
                        .steps_left = options_.prompt_steps,
                        .tokens_left = sequence.sampling().max_tokens()});
  }
  if (!command.has_cancel()) return;
  const auto is_it = [&](const Sequence& one) {
    return one.request == command.cancel().request_id() &&
           (!command.cancel().has_choice() || command.cancel().choice() == one.choice);
  };
  std::erase_if(waiting_, is_it);
  std::erase_if(running_, is_it);
}

void PacedWorker::Step() {
  absl::MutexLock lock(&mutex_);
  while (!waiting_.empty() && static_cast<int>(running_.size()) < options_.batch) {
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  v1::DecodeEvent event;
  for (Sequence& one : running_) {
    if (one.steps_left-- > 0) continue;
    v1::SequenceDelta* delta = event.add_deltas();
    delta->set_request_id(one.request);
    delta->set_choice(one.choice);
    delta->add_tokens()->set_token(options_.token);
    if (--one.tokens_left == 0) delta->set_finish(v1::FINISH_REASON_LENGTH);
  }
  std::erase_if(running_, [](const Sequence& one) { return one.tokens_left == 0; });
  if (stream_ != nullptr && event.deltas_size() > 0) (void)stream_->Write(event);
}

}  // namespace baton::bench

#include "tests/support/decode_stream.h"

#include <gtest/gtest.h>

#include "common/rpc/channel.h"
#include "tests/support/process.h"

namespace baton::testing {

DecodeStream::DecodeStream(const std::string& address)
    : stub_(v1::DecodeWorker::NewStub(rpc::PeerChannel(address))),
      stream_(stub_->Serve(&context_)),
      reader_([this] { ReadAll(); }) {}

DecodeStream::~DecodeStream() {
  context_.TryCancel();
  reader_.join();
}

void DecodeStream::ReadAll() {
  v1::DecodeEvent event;
  while (stream_->Read(&event)) {
    absl::MutexLock lock(&mutex_);
    for (const v1::SequenceDelta& delta : event.deltas()) {
      Generation& generation = generations_[{delta.request_id(), delta.choice()}];
      for (const auto& token : delta.tokens()) {
        generation.tokens.push_back(token.token());
        if (token.has_logprob()) generation.logprobs.push_back(token.logprob());
      }
      if (delta.has_times()) generation.times = delta.times();
      generation.finish = delta.finish();
      generation.status_code = delta.status_code();
      generation.status_message = delta.status_message();
    }
  }
  const grpc::Status end = stream_->Finish();
  absl::MutexLock lock(&mutex_);
  end_ = end;
}

grpc::Status DecodeStream::AwaitEnd(absl::Duration patience) {
  absl::MutexLock lock(&mutex_);
  const auto ended = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return end_.has_value(); };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&ended), patience)) {
    ADD_FAILURE() << "the worker did not end the stream";
    return grpc::Status::OK;
  }
  return *end_;
}

v1::Sequence DecodeStream::Greedy(const std::string& request_id, const std::vector<int32_t>& prompt,
                                  int32_t max_tokens) {
  v1::Sequence sequence;
  sequence.set_request_id(request_id);
  sequence.mutable_prompt()->Add(prompt.begin(), prompt.end());
  sequence.mutable_sampling()->set_temperature(0);
  sequence.mutable_sampling()->set_seed(1);
  sequence.mutable_sampling()->set_max_tokens(max_tokens);
  sequence.mutable_sampling()->set_ignore_eos(true);
  return sequence;
}

void DecodeStream::Submit(const std::vector<v1::Sequence>& sequences,
                          const std::vector<v1::PrefillTarget>& prefill) {
  v1::DecodeCommand command;
  for (const auto& sequence : sequences) *command.mutable_submit()->add_sequences() = sequence;
  for (const auto& target : prefill) *command.mutable_submit()->add_prefill() = target;
  absl::MutexLock lock(&write_mutex_);
  EXPECT_TRUE(stream_->Write(command));
}

void DecodeStream::Cancel(const std::string& request_id) {
  v1::DecodeCommand command;
  command.mutable_cancel()->set_request_id(request_id);
  absl::MutexLock lock(&write_mutex_);
  EXPECT_TRUE(stream_->Write(command));
}

Generation DecodeStream::Look(const std::string& request_id, int32_t choice) const {
  absl::MutexLock lock(&mutex_);
  auto found = generations_.find({request_id, choice});
  return found == generations_.end() ? Generation{} : found->second;
}

Generation DecodeStream::Finish(const std::string& request_id, int32_t choice,
                                absl::Duration patience) {
  Generation generation;
  EXPECT_TRUE(Eventually(
      [&] {
        generation = Look(request_id, choice);
        return generation.finish != v1::FINISH_REASON_UNSPECIFIED;
      },
      patience))
      << "sequence " << request_id << "/" << choice << " did not end";
  return generation;
}

Generation DecodeStream::Run(const v1::Sequence& sequence,
                             const std::vector<v1::PrefillTarget>& prefill) {
  Submit({sequence}, prefill);
  return Finish(sequence.request_id(), sequence.choice());
}

}  // namespace baton::testing

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/base/testing/event_queue.h"
#include "common/engine/testing/chain_runner.h"
#include "services/router/dispatch/dispatcher.h"

namespace baton::simulation {

// One request and what its client sees of it, compared at every event with what an undisturbed
// model says.
class SimClient : public router::EventSink {
 public:
  enum class State : uint8_t { kNew, kRunning, kCompleted, kFailed, kCancelled, kLost };

  SimClient(EventQueue& queue, router::AcceptedRequest request, const model::ModelInfo& model);

  const router::AcceptedRequest& request() const { return request_; }
  State state() const { return state_; }
  bool over() const { return state_ > State::kRunning; }
  const absl::Status& error() const { return error_; }
  // Empty, or how the router broke its word.
  const std::string& wrong() const { return wrong_; }

  void Started() { state_ = State::kRunning; }
  // Refused before it began.
  void Refused(const absl::Status& why);
  // It cancels; whatever is told afterwards is wrong.
  void Cancelled() { state_ = State::kCancelled; }
  // Its router died.
  void Lost() {
    if (!over()) state_ = State::kLost;
  }
  // Reads no more after so many messages: the door says so to the flight.
  void set_messages_max(int messages) { messages_left_ = messages; }

  [[nodiscard]] bool OnEvents(std::vector<router::Event> events) override;

 private:
  struct Choice {
    engine::testing::ChainOutput expected;
    std::string expected_text;  // up to its stop string
    std::string stop;           // the one that matches; empty: none
    size_t prompt_told = 0;
    std::vector<int32_t> tokens;
    std::string text;
    bool ended = false;
  };
  void Expect(int32_t choice, const model::ModelInfo& model);
  void Take(const router::Event& event);
  void TakePiece(const router::Piece& piece);
  void TakeEnd(const router::ChoiceEnd& end);
  void TakeCompleted(const router::Completed& completed);
  void Wrong(std::string what);

  EventQueue& queue_;
  const router::AcceptedRequest request_;
  State state_ = State::kNew;
  absl::Status error_;
  std::string wrong_;
  std::vector<Choice> choices_;
  int messages_left_ = -1;  // unlimited
};

}  // namespace baton::simulation

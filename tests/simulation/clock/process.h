#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "common/base/testing/event_queue.h"

namespace baton::simulation {

// One life of one process. What is to run in it waits while it is stopped (SIGSTOP) and never runs
// once it is dead (kill -9).
class Process : public std::enable_shared_from_this<Process> {
 public:
  // `name` stays over restarts, `life` does not.
  Process(EventQueue& queue, std::string name, int life)
      : queue_(queue), name_(std::move(name)), life_(life) {}

  void After(absl::Duration delay, std::string_view label, Work work);
  void Kill();
  void Stop() { stopped_ = true; }
  void Continue();

  EventQueue& queue() const { return queue_; }
  const std::string& name() const { return name_; }
  int life() const { return life_; }
  bool alive() const { return alive_; }
  bool stopped() const { return stopped_; }

 private:
  void Arrive(std::string_view label, Work work);
  void WorkOff();

  EventQueue& queue_;
  const std::string name_;
  const int life_;
  bool alive_ = true;
  bool stopped_ = false;
  std::deque<Work> waiting_;  // arrived while it was stopped, or before all of that was done
};

}  // namespace baton::simulation

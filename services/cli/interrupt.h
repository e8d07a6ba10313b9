#pragma once

#include <functional>
#include <mutex>
#include <thread>

namespace baton::cli {

// Ctrl-C as a call instead of a handler: while a Scope lives, its function runs (on a thread of
// ours); without one, or from the second Ctrl-C in one scope on, the program ends with code 130.
// Construct it in main() before any thread is started.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();

  class Scope {
   public:
    Scope(Interrupt& interrupt, std::function<void()> action);
    ~Scope();

   private:
    Interrupt& interrupt_;
  };

 private:
  void Run();

  std::mutex mutex_;  // guards action_, also while it runs: a Scope ends only after its action has
  std::function<void()> action_;
  std::thread thread_;
};

}  // namespace baton::cli

#pragma once

#include <functional>
#include <string>
#include <vector>

namespace baton::bench {

// Code that every request or every token goes through. `prepare` is not counted; what it returns is
// called once to warm up and then `times` times, counted. Nothing of it may depend on the time, on
// chance or on other threads: the same program gives the same count.
struct GuardedPath {
  std::string name;
  int times = 1;
  std::function<std::function<void()>()> prepare;
};

std::vector<GuardedPath> RouterPaths();
std::vector<GuardedPath> TextPaths(const std::string& model_dir);
std::vector<GuardedPath> EnginePaths();
std::vector<GuardedPath> ModelPaths(const std::string& model_dir);

}  // namespace baton::bench

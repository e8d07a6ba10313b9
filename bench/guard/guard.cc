// Paths whose instructions bench/guard/guard.py counts.
//
//   guard --list          names of all paths
//   guard --compiler      what this was compiled with: counts of two compilers can't be compared
//   guard PATH [MODEL]    runs one of them; MODEL is a folder, models/baton-demo by default

#include <cstdio>
#include <string>
#include <string_view>

#include "bench/guard/path.h"

// Counting begins where this is entered and ends where it returns: its name is what callgrind asks
// for.
extern "C" __attribute__((noinline)) void BatonGuardedPath(const std::function<void()>& work,
                                                           int times) {
  for (int i = 0; i < times; ++i) work();
}

namespace baton::bench {
namespace {

std::vector<GuardedPath> AllPaths(const std::string& model_dir) {
  std::vector<GuardedPath> all;
  for (std::vector<GuardedPath>& some :
       std::vector{RouterPaths(), TextPaths(model_dir), EnginePaths(), ModelPaths(model_dir)}) {
    for (GuardedPath& path : some) all.push_back(std::move(path));
  }
  return all;
}

int Run(std::string_view name, const std::string& model_dir) {
  for (const GuardedPath& path : AllPaths(model_dir)) {
    if (name == "--list") std::printf("%s\n", path.name.c_str());
    if (path.name != name) continue;
    const std::function<void()> work = path.prepare();
    work();
    BatonGuardedPath(work, path.times);
    return 0;
  }
  if (name == "--list") return 0;
  std::fprintf(stderr, "guard: no path \"%.*s\"; guard --list has them\n", int(name.size()),
               name.data());
  return 2;
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  const std::string_view name = argc > 1 ? argv[1] : "";
  if (name == "--compiler") {
    std::printf("%s\n", __VERSION__);
    return 0;
  }
  return baton::bench::Run(name, argc > 2 ? argv[2] : "models/baton-demo");
}

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "common/base/status.h"
#include "tests/simulation/clock/process.h"

namespace baton::simulation {

// The machine's memory as its processes share it: who owns which region, and which processes there
// are. A write goes through here, as through a mapped segment: by the writer's own hands, at the
// moment it runs.
class MemoryBus {
 public:
  // Called for every write before it lands: the writer, the owner's region and the offset in it.
  using Landing = std::function<void(int64_t writer, const std::string& region, uint64_t offset)>;

  int64_t Enlist(std::shared_ptr<Process> process);
  // Whether the process can still run. Unknown ids cannot.
  bool Alive(int64_t process_id) const;
  std::shared_ptr<Process> process(int64_t process_id) const;

  void Share(const std::string& region, int64_t owner, std::byte* data, size_t bytes);
  // UNAVAILABLE when the owner is dead.
  absl::Status Write(int64_t writer, const std::string& region, uint64_t offset,
                     const std::byte* source, size_t bytes);
  void set_landing(Landing landing) { landing_ = std::move(landing); }

 private:
  struct Region {
    int64_t owner = 0;
    std::byte* data = nullptr;
    size_t bytes = 0;
  };
  std::map<int64_t, std::shared_ptr<Process>> processes_;
  std::map<std::string, Region> regions_;
  Landing landing_;
};

}  // namespace baton::simulation

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/kv/block_pool.h"

namespace baton::simulation {

// Who may still write to which block of one decode worker, kept beside the product and by other
// means: from what was asked for on the wire, what was answered, and who is dead. A block with a
// writer must be out of everybody else's reach.
class WriteLedger {
 public:
  // The engine wants these blocks filled: they are its sequence's until that ends.
  void Await(uint64_t epoch, const std::string& sequence);
  // The engine has been told how it ended, or the sequence is gone: nobody reads the blocks now.
  void Settle(uint64_t epoch);
  void SettleSequence(const std::string& sequence);

  // A prefill worker's process was asked to fill them; it may write from now on.
  void Open(uint64_t epoch, uint64_t wire_epoch, int64_t writer, std::vector<int32_t> blocks);
  // It says that it does not any more.
  void Close(uint64_t wire_epoch) { grants_.erase(wire_epoch); }
  void CloseWriter(int64_t writer);

  // A byte lands: empty, or what is wrong with that.
  std::string CheckWrite(int64_t writer, int32_t block) const;
  // Empty, or which block is within reach although somebody may still write to it.
  std::string CheckPool(const kv::BlockPool& pool) const;
  bool empty() const { return grants_.empty(); }

 private:
  struct Grant {
    uint64_t epoch = 0;
    int64_t writer = 0;
    std::vector<int32_t> blocks;
  };
  std::map<uint64_t, Grant> grants_;          // by wire epoch
  std::map<uint64_t, std::string> awaiting_;  // engine epoch -> sequence
};

}  // namespace baton::simulation

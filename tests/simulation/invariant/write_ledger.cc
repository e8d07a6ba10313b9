#include "tests/simulation/invariant/write_ledger.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"

namespace baton::simulation {

void WriteLedger::Await(uint64_t epoch, const std::string& sequence) {
  awaiting_[epoch] = sequence;
}

void WriteLedger::Settle(uint64_t epoch) { awaiting_.erase(epoch); }

void WriteLedger::SettleSequence(const std::string& sequence) {
  std::erase_if(awaiting_, [&](const auto& entry) { return entry.second == sequence; });
}

void WriteLedger::Open(uint64_t epoch, uint64_t wire_epoch, int64_t writer,
                       std::vector<int32_t> blocks) {
  grants_[wire_epoch] = {epoch, writer, std::move(blocks)};
}

void WriteLedger::CloseWriter(int64_t writer) {
  std::erase_if(grants_, [&](const auto& entry) { return entry.second.writer == writer; });
}

std::string WriteLedger::CheckWrite(int64_t writer, int32_t block) const {
  for (const auto& [wire_epoch, grant] : grants_) {
    if (grant.writer != writer) continue;
    if (std::find(grant.blocks.begin(), grant.blocks.end(), block) != grant.blocks.end()) return "";
  }
  return fmt::format("process {} writes to block {}, which was taken back from it", writer, block);
}

std::string WriteLedger::CheckPool(const kv::BlockPool& pool) const {
  for (const auto& [wire_epoch, grant] : grants_) {
    const bool awaited = awaiting_.contains(grant.epoch);
    for (const int32_t block : grant.blocks) {
      const kv::BlockState state = pool.state(BlockId(block));
      if (state == kv::BlockState::kQuarantined || state == kv::BlockState::kReplaced) continue;
      if (awaited && state == kv::BlockState::kActive) continue;
      return fmt::format("block {} is in state {} although attempt {} may still write to it", block,
                         static_cast<int>(state), wire_epoch);
    }
  }
  return "";
}

}  // namespace baton::simulation

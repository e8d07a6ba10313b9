#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

// What the ranks of one tensor-parallel group do together. A model that is divided among N devices
// has N ranks, each with a Backend, a thread and one Collective, its endpoint in the group.
namespace baton::kernels {

// One rank's endpoint. Memory is its backend's device memory. All ranks make the same calls in the
// same order and with equal sizes; operations are ordered with those of the rank's backend and,
// like those, may return before they are done.
//
// Every rank gets the same bits. The host's sums, and any two ranks', are also the same wherever in
// `data` an element lies, so that a row has the same sum in every batch; NCCL's over more than two
// ranks are not.
//
// Threads: a rank's thread alone calls its endpoint's operations; Abort() and failure() may come
// from any thread. The endpoints of a group share what joins them; it goes with the last one.
//
// Failure: an operation answers false when the group has been aborted, be it by Abort() or because
// a rank is lost. Its memory's content means nothing then, and so is every later call answered, on
// every rank and at once. A group that has been aborted stays so.
class Collective {
 public:
  virtual ~Collective() = default;

  // "host", "nccl 2.27.3".
  virtual std::string name() const = 0;
  virtual int32_t rank() const = 0;
  virtual int32_t size() const = 0;

  // data[i] = the sum over all ranks of their data[i]. f32.
  [[nodiscard]] virtual bool AllReduceSum(float* data, size_t count) = 0;
  // all[r] = rank r's `mine`, for every r: all is [size][bytes], apart from `mine`.
  [[nodiscard]] virtual bool AllGather(const void* mine, size_t bytes, void* all) = 0;
  // data = rank `root`'s data.
  [[nodiscard]] virtual bool Broadcast(void* data, size_t bytes, int32_t root) = 0;

  // Wakes whoever waits for a rank that will not come. The first reason stays.
  virtual void Abort(std::string why) = 0;
  // Why the group was aborted; empty: it was not.
  virtual std::string failure() const = 0;
};

// A group of threads of this process over host memory, for backends that compute there. Sums are
// taken by rising rank: ((x0 + x1) + x2) + …. [size], endpoint r is rank r's.
std::vector<std::unique_ptr<Collective>> MakeHostCollectives(int32_t size);

}  // namespace baton::kernels

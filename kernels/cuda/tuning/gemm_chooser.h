#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "kernels/cuda.h"
#include "kernels/cuda/cublaslt/lt_gemm.h"
#include "kernels/cuda/runtime/runtime.h"
#include "kernels/cuda/tuning/gemm_times.h"

namespace baton::kernels::cuda {

struct GemmChooserOptions {
  CudaGemm gemm = CudaGemm::kAuto;  // not kOwn
  std::filesystem::path folder;     // where times are kept; empty: nowhere
  void* workspace = nullptr;        // of cuBLASLt; a multiple of 256, free on the backend's stream
  size_t workspace_bytes = 0;
  int candidates_max = 8;   // that cuBLASLt is asked for, per size
  int launches_max = 16;    // of one measurement
  double seconds_max = 20;  // of the device's time, for one Prepare()
};

// Says which GEMM goes to cuBLASLt, and to which of its algorithms, by how long each takes on this
// GPU. Measured when a model is loaded, once per GPU, driver, library and size, and then read from
// a file; a file that is another's or damaged is measured anew. Steps only look up.
//
// A candidate whose result is not that of our own kernels is never taken. What was not measured,
// because time ran out or nobody announced it, goes to our own.
//
// One owner thread; Summary() from any.
class GemmChooser {
 public:
  // An error: why there is no cuBLASLt to choose.
  static Error Create(const GemmChooserOptions& options, const DeviceInfo& device,
                      std::unique_ptr<GemmChooser>* made);
  ~GemmChooser();
  GemmChooser(const GemmChooser&) = delete;
  GemmChooser& operator=(const GemmChooser&) = delete;

  // Each use with as many tokens as there will be at most; x and out are written to. Uses of one
  // kind are measured in turn, each with its own weights, as a step runs them. An error is the
  // device's; what goes wrong in the library only takes it out of the choice.
  Error Prepare(std::span<const GemmArgs> uses, Stream stream);

  // Null: own kernels. Stays valid while this lives.
  LtChoice* Find(const GemmArgs& args);

  const std::string& library_version() const { return library_.version; }
  // "cuBLASLt 13.1.0 for 12 of 20 sizes; measured in 0.8 s".
  std::string Summary() const;

 private:
  struct Kind {
    std::unique_ptr<LtGemm> gemm;                            // null: the library cannot describe it
    std::map<int32_t, std::unique_ptr<LtChoice>> by_bucket;  // those that go to cuBLASLt
  };
  using Enqueue = std::function<Error(const GemmArgs&)>;

  GemmChooser(const GemmChooserOptions& options, const DeviceInfo& device,
              const cublaslt::Library& library, cublaslt::Handle handle);

  Kind& KindFor(const GemmKind& kind);
  Error PrepareKind(const GemmKind& kind, std::vector<GemmArgs> uses, Stream stream);
  Error PrepareSize(const GemmSize& size, const std::vector<GemmArgs>& uses, Stream stream);
  Error Measure(Kind& kind, const std::vector<GemmArgs>& uses, Stream stream, GemmTime* time);
  Enqueue Own(Stream stream) const;
  Enqueue By(Kind& kind, const LtCandidate& candidate, Stream stream) const;
  // Whether it takes this size, with all numbers of tokens that share a choice, and its result is
  // that of our own kernels.
  Error IsGood(Kind& kind, const LtCandidate& candidate, const GemmArgs& use,
               const std::vector<float>& want, Stream stream, bool* is_good);
  // Of one launch, when many follow one another; none: it cannot be launched.
  Error TimeOf(const Enqueue& enqueue, const std::vector<GemmArgs>& uses, Stream stream,
               std::optional<double>* seconds);
  // Some of what it makes of the first use; empty: it cannot be launched.
  Error ResultOf(const Enqueue& enqueue, const GemmArgs& use, Stream stream,
                 std::vector<float>* result);
  bool IsTimeUp() const { return seconds_spent_ >= options_.seconds_max; }
  bool IsWorthIt(const GemmTime& time) const;
  void Take(const GemmSize& size, const GemmTime& time);
  void Complain(const Error& error);
  void Summarize();

  const GemmChooserOptions options_;
  const DeviceTraits traits_;
  const cublaslt::Library& library_;
  const cublaslt::Handle handle_;
  const std::string subject_;
  const std::filesystem::path file_;
  GemmTimes times_;  // known so far, of the file and measured
  std::map<GemmKind, Kind> kinds_;
  double seconds_spent_ = 0;
  int num_measured_ = 0, num_sizes_ = 0, num_taken_ = 0, num_left_ = 0, num_wrong_ = 0;
  std::string complaint_;  // the first

  mutable std::mutex mutex_;
  std::string summary_;  // guarded by mutex_
};

}  // namespace baton::kernels::cuda

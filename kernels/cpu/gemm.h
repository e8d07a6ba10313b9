#pragma once

#include <vector>

#include "kernels/cpu/isa_ops.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/thread_pool.h"

namespace baton::kernels {

struct GemmArgs {
  const void* x = nullptr;  // [T, K] of the activation type: bf16 for bf16 weights with bf16_dot,
                            // int8 with its scales for int8, else f32
  const float* bias = nullptr;
  int32_t num_tokens = 0;
  bool add = false;
  float* out = nullptr;  // [T, N]
};

// y = x W^T. Plans tiles and tasks; the arithmetic is IsaOps' tile: every output is one chain over
// rising k, or a sum of whole numbers, whatever the plan, so the plan may depend on T and the
// threads at will.
class GemmRunner {
 public:
  GemmRunner(const IsaOps& ops, ThreadPool& pool);
  void Run(const GemmArgs& args, const PackedMatrix& w);

 private:
  // The plan of one call.
  struct Plan {
    bool bf16_dot;      // x is bf16, pairs meet pairs
    bool pairs;         // x is f32 and meets pairs of bf16
    bool widen;         // the same, and the pairs are widened for an f32 tile first
    bool int8;          // bytes meet bytes
    int64_t groups;     // of int4, which is unpacked to bytes: a block is a group. Else 0
    int64_t k;          // dwords of x per row, after padding an odd K
    int64_t k_block;    // dwords of x per block
    int32_t num_tiles;  // of rows; tile i has rows i * T / num_tiles up to (i + 1) * T / num_tiles
    int32_t chunk_tiles;  // tiles per task
    int64_t task_panels;  // panels per task
    int64_t join_panels;  // panels that pass over a block of x together
    const uint32_t* x;    // packed: tile after tile, each [k][rows]
    TileFn tile;
  };

  TileFn TileOf(const Plan& plan) const;
  Plan MakePlan(const GemmArgs& args, const PackedMatrix& w);
  const uint32_t* PackRows(const GemmArgs& args, const PackedMatrix& w, const Plan& plan);
  void ReadScales(const GemmArgs& args, const PackedMatrix& w, const Plan& plan, int64_t begin,
                  int64_t end);
  void Store(const GemmArgs& args, const PackedMatrix& w, const Plan& plan, int64_t panel,
             int32_t begin, int32_t rows, const float* acc);
  void RunTask(const GemmArgs& args, const PackedMatrix& w, const Plan& plan, int64_t task,
               int thread);
  void RunPanels(const GemmArgs& args, const PackedMatrix& w, const Plan& plan, int32_t first_tile,
                 int32_t end_tile, int64_t first_panel, int64_t end_panel, float* scratch);
  void RunBlock(const GemmArgs& args, const PackedMatrix& w, const Plan& plan, int32_t first_tile,
                int32_t end_tile, int64_t panel, int64_t k0, float* acc, float* widened);
  void RunGroup(const GemmArgs& args, const PackedMatrix& w, const Plan& plan, int32_t first_tile,
                int32_t end_tile, int64_t panel, int64_t k0, float* total, float* scratch);

  const IsaOps& ops_;
  ThreadPool& pool_;
  Scratch packed_;
  std::vector<float> x_scales_;  // [T], of int8
  std::vector<int32_t> x_sums_;  // [T][groups], of int8 [T]
  std::vector<Scratch> per_thread_;
};

}  // namespace baton::kernels

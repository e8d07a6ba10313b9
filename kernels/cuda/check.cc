#include <cstdint>
#include <string>

#include "kernels/cuda/activation/silu_mul.h"
#include "kernels/cuda/attention/paged_decode.h"
#include "kernels/cuda/attention/paged_plain.h"
#include "kernels/cuda/attention/paged_prefill.h"
#include "kernels/cuda/embedding/embed.h"
#include "kernels/cuda/embedding/gather_rows.h"
#include "kernels/cuda/gemm/gemm.h"
#include "kernels/cuda/kv/block_checksum.h"
#include "kernels/cuda/kv/block_copy.h"
#include "kernels/cuda/norm/rms_norm.h"
#include "kernels/cuda/rope/qk_norm_rope_kv.h"
#include "kernels/cuda/sampling/sample_tokens.h"

// What every kernel here can and cannot do, said before anything is launched.
namespace baton::kernels::cuda {
namespace {

constexpr int32_t kGridYzMax = 65535;
constexpr int64_t kGridXMax = 2147483647;

Error Refuse(const std::string& field, int64_t value, const std::string& limit) {
  return field + " is " + std::to_string(value) + ": " + limit;
}

Error CheckRange(const std::string& field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return std::nullopt;
  return Refuse(field, value,
                "from " + std::to_string(low) + " to " + std::to_string(high) + " is possible");
}

Error CheckMultiple(const std::string& field, int64_t value, int64_t unit) {
  if (value > 0 && value % unit == 0) return std::nullopt;
  return Refuse(field, value, "a positive multiple of " + std::to_string(unit) + " is needed");
}

// 16-byte loads begin at multiples of 16.
Error CheckPointer(const std::string& field, const void* pointer) {
  if (pointer == nullptr) return field + " is null";
  if (reinterpret_cast<uintptr_t>(pointer) % 16 == 0) return std::nullopt;
  return field + " is not at a multiple of 16 bytes";
}

Error CheckDType(const std::string& field, DType dtype) {
  if (dtype == DType::kF32 || dtype == DType::kBF16) return std::nullopt;
  return field + " is " + std::string(NameOf(dtype)) + ": f32 and bf16 are possible";
}

Error FirstOf(std::initializer_list<Error> errors) {
  for (const Error& error : errors) {
    if (error) return error;
  }
  return std::nullopt;
}

Error CheckKvDType(DType dtype) {
  if (dtype != DType::kF16) return std::nullopt;
  return "kv.dtype is " + std::string(NameOf(dtype)) + ": f32, bf16, fp8 and int8 are possible";
}

Error CheckPool(const KvView& kv) {
  if (kv.block_tokens != 16 && kv.block_tokens != 32 && kv.block_tokens != 64) {
    return Refuse("kv.block_tokens", kv.block_tokens, "16, 32 or 64 is needed");
  }
  return FirstOf({CheckPointer("kv.base", kv.base), CheckKvDType(kv.dtype),
                  CheckRange("kv.num_kv_heads", kv.num_kv_heads, 1, kGridYzMax),
                  CheckMultiple("kv.head_dim", kv.head_dim, 8)});
}

Error CheckHeadDim(int32_t dim) {
  if (dim == 64 || dim == 96 || dim == 128 || dim == 256) return std::nullopt;
  return Refuse("kv.head_dim", dim, "64, 96, 128 or 256 is needed");
}

Error CheckHeads(int32_t num_q_heads, const KvView& kv) {
  if (num_q_heads > 0 && num_q_heads % kv.num_kv_heads == 0) return std::nullopt;
  return Refuse(
      "num_q_heads", num_q_heads,
      "a positive multiple of kv.num_kv_heads (" + std::to_string(kv.num_kv_heads) + ") is needed");
}

// What both attention kernels of ragged batches ask for.
Error CheckRagged(const PagedPrefillArgs& args) {
  if (Error error = CheckPool(args.kv)) return error;
  if (Error error = CheckHeads(args.num_q_heads, args.kv)) return error;
  if (!(args.scale > 0)) {
    return "scale is " + std::to_string(args.scale) + ": a positive one is needed";
  }
  return FirstOf({CheckPointer("q", args.q), CheckPointer("query_begin", args.query_begin),
                  CheckPointer("query_tokens", args.query_tokens),
                  CheckPointer("context_tokens", args.context_tokens),
                  CheckPointer("block_tables", args.block_tables), CheckPointer("out", args.out),
                  CheckDType("out_dtype", args.out_dtype),
                  CheckRange("layer", args.layer, 0, args.kv.num_layers - 1),
                  CheckRange("batch", args.batch, 1, kGridYzMax),
                  CheckRange("window", args.window, 0, kGridXMax),
                  CheckRange("blocks_max", args.blocks_max, 1, kGridXMax),
                  CheckRange("query_tokens_max", args.query_tokens_max, 1,
                             int64_t{args.blocks_max} * args.kv.block_tokens)});
}

}  // namespace

Error Check(const RmsNormArgs& args) {
  constexpr int32_t kHiddenMax = 16384;  // 1024 threads of four times four floats
  return FirstOf({CheckPointer("x", args.x), CheckPointer("weight", args.weight),
                  CheckPointer("out", args.out),
                  args.add == nullptr ? std::nullopt : CheckPointer("add", args.add),
                  CheckDType("out_dtype", args.out_dtype),
                  CheckRange("num_tokens", args.num_tokens, 1, kGridXMax),
                  CheckMultiple("hidden", args.hidden, 8),
                  CheckRange("hidden", args.hidden, 8, kHiddenMax)});
}

Error Check(const SiluMulArgs& args) {
  return FirstOf({CheckPointer("gate_up", args.gate_up), CheckPointer("out", args.out),
                  CheckDType("out_dtype", args.out_dtype),
                  CheckRange("num_tokens", args.num_tokens, 1, kGridXMax),
                  CheckMultiple("intermediate", args.intermediate, 8)});
}

Error Check(const EmbedArgs& args) {
  return FirstOf({CheckPointer("table", args.table), CheckPointer("ids", args.ids),
                  CheckPointer("out", args.out), CheckDType("table_dtype", args.table_dtype),
                  CheckRange("num_tokens", args.num_tokens, 1, kGridXMax),
                  CheckMultiple("hidden", args.hidden, 8)});
}

Error Check(const QkNormRopeKvArgs& args) {
  if (Error error = CheckPool(args.kv)) return error;
  return FirstOf(
      {CheckPointer("qkv", args.qkv.qkv), CheckPointer("q_out", args.q_out),
       CheckPointer("rope.cos", args.qkv.rope.cos), CheckPointer("rope.sin", args.qkv.rope.sin),
       CheckPointer("positions", args.qkv.positions), CheckPointer("slots", args.qkv.slots),
       CheckRange("num_tokens", args.qkv.num_tokens, 1, kGridXMax / 1024),
       CheckRange("num_q_heads", args.qkv.num_q_heads, 1, 1024),
       CheckRange("kv.head_dim", args.kv.head_dim, 8, 256),
       CheckRange("layer", args.layer, 0, args.kv.num_layers - 1)});
}

Error Check(const PagedDecodeArgs& args) {
  if (Error error = CheckPool(args.kv)) return error;
  if (Error error = CheckHeadDim(args.kv.head_dim)) return error;
  if (Error error = CheckHeads(args.num_q_heads, args.kv)) return error;
  const int64_t tokens_max = int64_t{args.blocks_max} * args.kv.block_tokens;
  return FirstOf({CheckPointer("q", args.q), CheckPointer("context_tokens", args.context_tokens),
                  CheckPointer("block_tables", args.block_tables), CheckPointer("out", args.out),
                  CheckDType("out_dtype", args.out_dtype),
                  CheckRange("layer", args.layer, 0, args.kv.num_layers - 1),
                  CheckRange("batch", args.batch, 1, kGridYzMax),
                  CheckRange("window", args.window, 0, kGridXMax),
                  CheckRange("context_tokens_max", args.context_tokens_max, 1, tokens_max),
                  PagedDecodeWorkspaceBytes(args) == 0
                      ? std::nullopt
                      : CheckPointer("workspace", args.workspace)});
}

Error Check(const PagedPrefillArgs& args) {
  if (args.kv.dtype == DType::kF32) {
    return "kv.dtype is " + std::string(NameOf(args.kv.dtype)) + ": bf16, fp8 or int8 is needed";
  }
  if (Error error = CheckHeadDim(args.kv.head_dim)) return error;
  return CheckRagged(args);
}

Error Check(const PagedPlainArgs& args) {
  if (Error error = CheckRange("kv.head_dim", args.call.kv.head_dim, 8, 256)) return error;
  return CheckRagged(args.call);
}

Error Check(const GemmArgs& args) {
  return FirstOf({CheckPointer("x", args.x), CheckPointer("w", args.w),
                  CheckPointer("out", args.out), CheckDType("dtype", args.dtype),
                  args.bias == nullptr ? std::nullopt : CheckPointer("bias", args.bias),
                  CheckRange("num_tokens", args.num_tokens, 1, kGridXMax),
                  CheckRange("num_outputs", args.num_outputs, 1, int64_t{kGridYzMax} * 32),
                  CheckMultiple("num_inputs", args.num_inputs, 8)});
}

Error Check(const GatherRowsArgs& args) {
  return FirstOf({CheckPointer("x", args.x), CheckPointer("rows", args.rows),
                  CheckPointer("out", args.out),
                  CheckRange("num_rows", args.num_rows, 1, kGridXMax),
                  CheckMultiple("row_bytes", int64_t(args.row_bytes), 16)});
}

Error Check(const KvBlockCopyArgs& args) {
  if (Error error = CheckPool(args.kv)) return error;
  return FirstOf(
      {CheckPointer("blocks", args.blocks), CheckPointer("staging", args.staging),
       CheckRange("num_blocks", args.num_blocks, 1, args.kv.num_blocks),
       CheckRange("first_layer", args.first_layer, 0, args.kv.num_layers - 1),
       CheckRange("num_layers", args.num_layers, 1, args.kv.num_layers - args.first_layer),
       CheckRange("first_head", args.first_head, 0, args.kv.num_kv_heads - 1),
       CheckRange("num_heads", args.num_heads, 1, args.kv.num_kv_heads - args.first_head)});
}

Error Check(const BlockChecksumArgs& args) {
  if (args.piece_bytes < kChecksumBytesMin) {
    return Refuse("piece_bytes", int64_t(args.piece_bytes),
                  "at least " + std::to_string(kChecksumBytesMin) + " is needed");
  }
  return FirstOf({CheckPointer("base", args.base), CheckPointer("offsets", args.offsets),
                  CheckPointer("sums", args.sums),
                  CheckMultiple("piece_bytes", int64_t(args.piece_bytes), 16),
                  CheckRange("num_pieces", args.num_pieces, 1, kGridXMax)});
}

Error Check(const SampleTokensArgs& args) {
  return FirstOf({CheckPointer("logits", args.logits), CheckPointer("rows", args.rows),
                  CheckPointer("tokens", args.tokens),
                  CheckRange("vocabulary", args.vocabulary, 1, kGridXMax),
                  CheckRange("batch", args.batch, 1, kGridXMax)});
}

}  // namespace baton::kernels::cuda

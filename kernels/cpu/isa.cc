#include <string_view>

#include "kernels/cpu/isa_ops.h"

namespace baton::kernels {
namespace {

bool MachineHasAvx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool MachineHasAvx512() {
  return MachineHasAvx2() && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

bool MachineHasAvx512Bf16() { return MachineHasAvx512() && __builtin_cpu_supports("avx512bf16"); }

bool MachineHasVnni() { return MachineHasAvx512() && __builtin_cpu_supports("avx512vnni"); }

// Whole numbers are the same by any instruction: bytes are multiplied by the best that is there,
// and the set keeps its name.
IsaOps WithInt8(const IsaOps& wide) {
  IsaOps ops = wide;
  ops.tile_int8 = MachineHasVnni() ? VnniTile() : Avx2Ops()->tile_int8;
  ops.tile_int4 = MachineHasVnni() ? VnniTile() : Avx2Ops()->tile_int4;
  return ops;
}

}  // namespace

const IsaOps* FindIsa(const char* name) {
  const std::string_view asked = name;
  const bool any = asked == "auto";
  if ((any || asked == "avx512_bf16") && MachineHasAvx512Bf16()) {
    static const IsaOps ops = WithInt8(*Avx512Bf16Ops());
    return &ops;
  }
  if ((any || asked == "avx512") && MachineHasAvx512()) {
    static const IsaOps ops = WithInt8(*Avx512Ops());
    return &ops;
  }
  if ((any || asked == "avx2") && MachineHasAvx2()) return Avx2Ops();
  return nullptr;
}

}  // namespace baton::kernels

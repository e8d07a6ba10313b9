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

}  // namespace

const IsaOps* FindIsa(const char* name) {
  const std::string_view asked = name;
  const bool any = asked == "auto";
  if ((any || asked == "avx512_bf16") && MachineHasAvx512Bf16()) return Avx512Bf16Ops();
  if ((any || asked == "avx512") && MachineHasAvx512()) return Avx512Ops();
  if ((any || asked == "avx2") && MachineHasAvx2()) return Avx2Ops();
  return nullptr;
}

}  // namespace baton::kernels

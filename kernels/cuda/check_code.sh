#!/bin/sh
# Looks at what nvcc has made of the kernels, with no GPU needed:
#   - no kernel spills registers or keeps arrays in local memory
#   - decode attention copies 16 bytes at a time to shared memory, as prefill attention
#     does, which multiplies on tensor cores
#   - the kernels on warpgroups multiply by HGMMA, copy by the copy engine, and wait for several products
#     at once: the compiler waits after each where it cannot prove that nothing else touches their registers
#   - every architecture asked for is there
#
#   check_code.sh libkernels_cuda.a FOLDER-OF-CUOBJDUMP [ARCHITECTURE …]
set -eu
library=$1 tools=$2
shift 2
[ -x "$tools/cuobjdump" ] || { echo "no cuobjdump in $tools: deploy/deps/install.sh --cuda brings it"; exit 1; }
PATH=$tools:$PATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
wrong=0

# One line per kernel and architecture: "ARCH STACK LOCAL KERNEL".
cuobjdump --dump-resource-usage "$library" 2>/dev/null | awk '
  /^arch = /  { arch = $3 }
  / Function / || /^ *Function / { name = $2; sub(/:$/, "", name) }
  /REG:/ {
    stack = local = "?"
    for (i = 1; i <= NF; ++i) {
      if ($i ~ /^STACK:/) stack = substr($i, 7)
      if ($i ~ /^LOCAL:/) local = substr($i, 7)
    }
    print arch, stack, local, name
  }' > "$folder/usage"
[ -s "$folder/usage" ] || { echo "no kernels in $library"; exit 1; }

if awk '$2 != 0 || $3 != 0' "$folder/usage" | c++filt > "$folder/spilling" && [ -s "$folder/spilling" ]; then
  echo "kernels with a stack or local memory (architecture, bytes of stack, of local memory, kernel):"
  cat "$folder/spilling"
  wrong=1
fi

for arch in "$@"; do
  grep -q "^sm_$arch " "$folder/usage" || { echo "no code for sm_$arch"; wrong=1; }
done

sass_of() { cuobjdump --dump-sass --gpu-architecture "sm_$1" "$library" > "$folder/sass" 2>/dev/null; }
# must_have PATTERN-OF-KERNELS INSTRUCTION WHY, in every kernel of that name.
must_have() {
  awk -v kernels="$1" -v instruction="$2" '
    /Function : / { if (name != "" && !found) print name; name = $3 ~ kernels ? $3 : ""; found = 0 }
    name != "" && index($0, instruction) { found = 1 }
    END { if (name != "" && !found) print name }' "$folder/sass" | c++filt > "$folder/without"
  grep -q "Function : .*$1" "$folder/sass" || { echo "no kernel is called $1"; wrong=1; }
  [ ! -s "$folder/without" ] || { echo "without $2 ($3):"; cat "$folder/without"; wrong=1; }
}
# more_than PATTERN-OF-KERNELS INSTRUCTION OTHER WHY: more of the one than twice as many of the other.
more_than() {
  awk -v kernels="$1" -v one="$2" -v other="$3" '
    function tell() { if (name != "" && ones <= 2 * others) print name ": " ones " and " others }
    /Function : / { tell(); name = $3 ~ kernels ? $3 : ""; ones = others = 0 }
    index($0, one) { ++ones }
    index($0, other) { ++others }
    END { tell() }' "$folder/sass" | c++filt > "$folder/without"
  [ ! -s "$folder/without" ] || { echo "$2 against $3 ($4):"; cat "$folder/without"; wrong=1; }
}
sass_of "${1:-80}"
must_have DecodeSplitKernel LDGSTS.E.BYPASS.128 "16-byte copies to shared memory"
must_have DecodeSplitKernel LDS.128 "16-byte loads from shared memory"
must_have PrefillKernel HMMA.16816.F32.BF16 "products on tensor cores"
must_have PrefillKernel LDSM.16.MT88.4 "values transposed on the way from shared memory"
must_have PrefillKernel LDGSTS.E.BYPASS.128 "16-byte copies to shared memory"
must_have GemmNarrowKernel LDGSTS.E.BYPASS.128 "16-byte copies to shared memory"
must_have GemmWideKernel HMMA.16816.F32.BF16 "products on tensor cores"
must_have GemmMiddleKernel HMMA.16816.F32.BF16 "products on tensor cores"
must_have GemmNarrowKernel HMMA.16816.F32.BF16 "products on tensor cores"
must_have BlockCopyKernel LDG.E.128 "16-byte loads"

sass_of 90a
for kernels in WarpgroupKernel; do
  must_have $kernels HGMMA "products of warpgroups"
  must_have $kernels UTMALDG "copies by the copy engine"
  more_than $kernels HGMMA WARPGROUP.DEPBAR "products under way together"
done

awk '{ kernels[$4]; archs[$1] } END { printf "%d kernels, %d architectures", length(kernels), length(archs) }' "$folder/usage"
[ $wrong = 0 ] && echo ": no spills, wide loads" || { echo; exit 1; }

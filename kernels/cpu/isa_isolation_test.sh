#!/bin/sh
# Functions that the linker may share between files must not come from a file compiled for a wider
# instruction set: the copy it keeps could stop an older machine. Only the kernels themselves, whose types
# name their instruction set, may be weak symbols of isa_*.o.
#
#   isa_isolation_test.sh libkernels_cpu.a
set -eu
shared=$(nm -C "$1" | awk '
  /^isa_.*\.o:$/ { file = $1; next }
  /\.o:$/        { file = ""; next }
  file != "" && / [WVu] / && !/Ops<baton::kernels::avx/ && !/DW\.ref/ { print file, $0 }')
[ -z "$shared" ] && exit 0
echo "weak symbols compiled for a wider instruction set:"
echo "$shared"
exit 1

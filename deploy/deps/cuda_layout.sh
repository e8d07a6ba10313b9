#!/usr/bin/env bash
# Gives the CUDA wheels' folder the shape that nvcc and CMake look for. Runs again without harm.
#
#   cuda_layout.sh <site-packages>/nvidia/cu13
set -euo pipefail
toolkit=$1

# nvcc.profile and FindCUDAToolkit look for lib64, the wheels bring lib.
ln -sfn lib "$toolkit/lib64"

# The linker looks for libcudart.so, the wheels bring libcudart.so.13 alone.
shopt -s nullglob
for library in "$toolkit"/lib/*.so.*; do
  name=${library##*/}
  ln -sfn "$name" "$toolkit/lib/${name%%.so.*}.so"
done

# The driver's library comes with a driver. To link without one, an empty library of that name is enough:
# programs find the real one when they start.
stub=$toolkit/lib/stubs/libcuda.so
if [[ ! -e $stub ]]; then
  mkdir -p "${stub%/*}"
  grep -ohE '\bcu[A-Z][A-Za-z0-9]+(_v[0-9]+)?(_ptsz|_ptds)?\b' "$toolkit/include/cuda.h" | sort -u |
    sed 's/.*/void &(void) {}/' | gcc -x c -w -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$stub" -
fi

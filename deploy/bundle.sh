#!/usr/bin/env bash
# Makes one relocatable archive of Baton: programs, the shared libraries they need, the demo model, tests for a
# machine with a GPU. It runs on any x86-64 Linux; GPUs need their driver and nothing else.
#
#   deploy/bundle.sh [--build FOLDER] [--out FILE]
#
#   --build   where the programs are built [build/release]; with a CUDA build the GPU tests and benches go along
#   --out     the archive [build/baton-VERSION-linux-x86_64.tar.xz]
#
# In the archive, bin/* start libexec/* with the libraries in lib/: with the machine's own C library where it is
# new enough, else with the one in lib/. LIBRARIES says where each library came from.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
build=build/release
out=
size_max_mib=60
programs=(baton baton-router baton-prefill-worker baton-decode-worker baton-planner)
gpu_programs=(kernels_cuda_gpu_test cuda_oracle_gpu_test cuda_bench handover_test)
# Of the C library itself; the loader first.
c_library=(ld-linux-x86-64.so.2 libc.so.6 libm.so.6 libpthread.so.0 libdl.so.2 librt.so.1 libresolv.so.2)

main() {
  while (($#)); do
    case $1 in
      --build) build=${2:?--build needs a folder}; shift 2 ;;
      --out) out=${2:?--out needs a file}; shift 2 ;;
      -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit ;;
      *) echo "bundle.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
    esac
  done
  local version name
  [[ -x $build/bin/baton ]] || { echo "bundle.sh: $build/bin/baton is not there; build it first (make binaries)" >&2; exit 1; }
  version=$("$build/bin/baton" --version | grep -oE '[0-9]+\.[0-9]+\.[0-9]+')
  name=baton-$version-linux-x86_64
  out=${out:-build/$name.tar.xz}
  stage=$(mktemp -d)
  trap 'rm -rf "$stage"' EXIT
  top=$stage/$name
  mkdir -p "$top"/{bin,lib,libexec,models}
  local program
  for program in "${programs[@]}"; do add_program "$program"; done
  if [[ -x $build/bin/kernels_cuda_gpu_test ]]; then add_gpu_tests; fi
  add_libraries
  cp -r models/baton-demo "$top/models/"
  write_readme "$version"
  pack "$name"
}

add_program() {
  install -m 755 -s "$build/bin/$1" "$top/libexec/$1"
  cat >"$top/bin/$1" <<'SH'
#!/bin/sh
# Starts the program of this name with the libraries of this bundle.
here=$(dirname "$(dirname "$(readlink -f "$0")")")
program=$here/libexec/$(basename "$0")
export BATON_PROGRAM_DIR="$here/bin" UCX_MODULE_DIR="$here/lib/ucx"
needed=$(cat "$here/lib/c-library/version")
have=$(getconf GNU_LIBC_VERSION 2>/dev/null | sed 's/.* //')
newest=$(printf '%s\n%s\n' "$needed" "${have:-0}" | sort -V | tail -n 1)
if [ "$newest" = "$have" ]; then
  LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec "$program" "$@"
fi
exec "$here/lib/c-library/ld-linux-x86-64.so.2" --argv0 "$0" \
  --library-path "$here/lib/c-library:$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$program" "$@"
SH
  chmod 755 "$top/bin/$1"
}

add_gpu_tests() {
  local program
  for program in "${gpu_programs[@]}"; do add_program "$program"; done
  mkdir -p "$top/tests/gpu" "$top/tests/oracle"
  cp tests/gpu/run.sh "$top/tests/gpu/"
  cp -r tests/oracle/goldens "$top/tests/oracle/"
}

# Everything the programs and UCX's modules load, but what belongs to the driver.
add_libraries() {
  local ucx modules=() library file
  ucx=$(ldd "$build/bin/baton-decode-worker" | awk '/libucp\.so/ {print $3}')
  if [[ -n $ucx && -d $(dirname "$ucx")/ucx ]]; then
    mkdir -p "$top/lib/ucx"
    cp -P "$(dirname "$ucx")"/ucx/*.so* "$top/lib/ucx/"
    mapfile -t modules < <(find "$top/lib/ucx" -name '*.so' -type l)
  fi
  mkdir "$top/lib/c-library"
  ldd --version | sed -n '1s/.* //p' >"$top/lib/c-library/version"
  LD_LIBRARY_PATH=${ucx:+$(dirname "$ucx")} ldd "$top"/libexec/* "${modules[@]}" 2>/dev/null |
    awk '/=> \// {print $1, $3} /^\t\/.*ld-linux/ {print "ld-linux-x86-64.so.2", $1}' | sort -u |
    while read -r library file; do
      case $library in
        libcuda.so* | libnvidia-ml.so*) continue ;;
      esac
      if [[ " ${c_library[*]} " == *" $library "* ]]; then
        cp -L "$file" "$top/lib/c-library/$library"
      else
        cp -L "$file" "$top/lib/$library"
      fi
      printf '%s\t%s\n' "$library" "$file"
    done >"$stage/libraries"
  for file in "$top"/lib/ucx/*.so; do
    [[ ! -e $file ]] || printf 'ucx/%s\t%s\n' "${file##*/}" "$(dirname "$ucx")/ucx/${file##*/}"
  done >>"$stage/libraries"
  # Names are looked up by these without being linked.
  for library in libnss_files.so.2 libnss_dns.so.2; do
    file=$(ldconfig -p | awk -v name="$library" '$1 == name && !found++ {print $NF}')
    [[ -n $file ]] || continue
    cp -L "$file" "$top/lib/c-library/"
    printf '%s\t%s\n' "$library" "$file" >>"$stage/libraries"
  done
  write_origins
  find "$top/lib" -name '*.so*' -type f -exec strip --strip-unneeded {} + 2>/dev/null || true
}

# LIBRARIES: each library of $stage/libraries (name, file) with the package and version it came from: Debian's, or a
# wheel's; "unknown" and the folder where it is neither.
write_origins() {
  local -A package_of version_of
  local library file package version
  # dpkg may know a file of /usr/lib as /lib's: they are one folder.
  while IFS=$'\t' read -r package file; do
    package_of[${file#/usr}]=$package
  done < <(cut -f2 "$stage/libraries" | xargs -rd '\n' readlink -f | sed 'p; s#^/usr/#/#' | sort -u |
    xargs -rd '\n' dpkg-query -S 2>/dev/null | sed 's/^\([^:,]*\)[^ ]*: /\1\t/')
  while read -r package version; do
    version_of[$package]=$version
  done < <(((${#package_of[@]})) && dpkg-query -W -f '${Package} ${Version}\n' "${package_of[@]}" | sort -u)
  while IFS=$'\t' read -r library file; do
    file=$(readlink -f "$file")
    package=${package_of[${file#/usr}]:-}
    if [[ -n $package ]]; then package+=" ${version_of[$package]}"; else package=$(wheel_of "$file"); fi
    printf '%s\t%s\n' "$library" "$package"
  done <"$stage/libraries" | sort -u >"$top/LIBRARIES"
}

wheel_of() {
  local site=${1%/site-packages/*}/site-packages record
  record=$(grep -lsF "${1#"$site/"}," "$site"/*.dist-info/RECORD | head -n 1)
  record=${record%.dist-info/RECORD}
  record=${record##*/}
  [[ -n $record ]] && echo "${record%-*} ${record##*-}" || echo "unknown ${1%/*}"
}

write_readme() {
  cat >"$top/README" <<TEXT
Baton $1 for x86-64 Linux.

  bin/baton up --model models/baton-demo     a cluster on this machine: router, prefill and decode workers
  bin/baton --help                           everything else
$([[ ! -d $top/tests ]] || echo '  BIN=$PWD/bin tests/gpu/run.sh              proves and measures it on a GPU')
LIBRARIES lists the shared libraries in lib/ and the packages they came from.
TEXT
}

pack() {
  mkdir -p "$(dirname "$out")"
  # The same files make the same archive.
  tar -C "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@"$(git log -1 --format=%ct 2>/dev/null || echo 0)" \
    -cf - "$1" | xz -T0 -3 >"$out"
  local bytes
  bytes=$(stat -c %s "$out")
  printf '%s  %s MiB (limit %s)\n' "$out" "$((bytes / 1048576))" "$size_max_mib"
  ((bytes <= size_max_mib * 1048576)) || { echo "bundle.sh: the archive is too large" >&2; exit 1; }
}

main "$@"

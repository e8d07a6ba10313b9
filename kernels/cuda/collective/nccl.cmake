# NCCL joins the GPUs of a tensor-parallel worker. Its header is needed to compile; the library is
# loaded when a worker asks for it, so a program runs where there is none.
#
# Looked for: BATON_NCCL_INCLUDE_DIR; the system; the toolkit; the wheel nvidia-nccl-cu13 in .deps/venv.
# Sets BATON_NCCL_INCLUDE_DIR, or -NOTFOUND, and BATON_NCCL_LIBRARY where the library lies beside it.
file(GLOB nccl_wheel
  ${CMAKE_CURRENT_LIST_DIR}/../../../.deps/venv/lib/python3*/site-packages/nvidia/nccl/include)
find_path(BATON_NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ${nccl_wheel}
  DOC "folder of nccl.h")
find_file(BATON_NCCL_LIBRARY libnccl.so.2 HINTS ${BATON_NCCL_INCLUDE_DIR}/../lib NO_DEFAULT_PATH
  DOC "NCCL's library, where it is not the system's")
if(BATON_NCCL_INCLUDE_DIR)
  message(STATUS "NCCL: ${BATON_NCCL_INCLUDE_DIR}")
else()
  message(STATUS "NCCL: no nccl.h found, a worker takes one GPU (deploy/deps/install.sh --cuda brings it)")
endif()

# NCCL joins the GPUs of a tensor-parallel worker. Its header is needed to compile; the library is
# loaded when a worker asks for it, so a program runs where there is none.
#
# Looked for: BATON_NCCL_INCLUDE_DIR; the system; the toolkit; the wheel nvidia-nccl-cu13 in .deps/venv.
# Sets BATON_NCCL_INCLUDE_DIR, or -NOTFOUND.
file(GLOB nccl_wheel
  ${CMAKE_CURRENT_LIST_DIR}/../../../.deps/venv/lib/python3*/site-packages/nvidia/nccl/include)
find_path(BATON_NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ${nccl_wheel}
  DOC "folder of nccl.h")
if(BATON_NCCL_INCLUDE_DIR)
  message(STATUS "NCCL: ${BATON_NCCL_INCLUDE_DIR}")
else()
  message(STATUS "NCCL: no nccl.h found, a worker takes one GPU")
endif()

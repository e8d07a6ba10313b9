# cuBLASLt is loaded when a worker asks for it; nothing of it is needed to compile. Where its header is
# found, what cublaslt/abi.h says is compared with it.
#
# Looked for: BATON_CUBLASLT_INCLUDE_DIR; the toolkit; the system. Sets BATON_CUBLASLT_CHECK.
find_path(BATON_CUBLASLT_INCLUDE_DIR cublasLt.h HINTS ${CUDAToolkit_INCLUDE_DIRS}
  DOC "folder of cublasLt.h")
set(BATON_CUBLASLT_CHECK "")
if(BATON_CUBLASLT_INCLUDE_DIR)
  message(STATUS "cuBLASLt: compared with ${BATON_CUBLASLT_INCLUDE_DIR}")
  set(BATON_CUBLASLT_CHECK cublaslt/abi_check.cc)
  set_source_files_properties(${BATON_CUBLASLT_CHECK} PROPERTIES COMPILE_OPTIONS
    -isystem${BATON_CUBLASLT_INCLUDE_DIR})
endif()

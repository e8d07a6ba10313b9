# Finds the CUDA toolkit and enables the language. Included by the project's own CMakeLists, before the
# first target, because a target takes its architectures when it is made.
#
#   BATON_CUDA   OFF: the host alone. AUTO: with CUDA where a toolkit is found. ON: with CUDA, or stop.
#
# Looked for, in this order: CMAKE_CUDA_COMPILER or $CUDACXX; nvcc on the path; $CUDA_HOME or
# /usr/local/cuda; the wheels in .deps/venv (deploy/deps/install.sh --cuda). No driver is needed.
# Sets BATON_CUDA_FOUND.
include_guard(GLOBAL)

set(BATON_CUDA OFF CACHE STRING "OFF | AUTO (where a toolkit is found) | ON (or stop)")
set_property(CACHE BATON_CUDA PROPERTY STRINGS OFF AUTO ON)
set(BATON_CUDA_ARCHITECTURES 80-real 89-real 90a-real 100-real CACHE STRING "GPUs to compile for")
set(BATON_CUDA_FOUND OFF CACHE INTERNAL "the CUDA language is enabled")
if(NOT BATON_CUDA MATCHES "^(OFF|AUTO|ON)$")
  message(FATAL_ERROR "BATON_CUDA is '${BATON_CUDA}': it is one of OFF, AUTO, ON")
endif()
if(BATON_CUDA STREQUAL "OFF")
  return()
endif()

if(NOT CMAKE_CUDA_COMPILER AND DEFINED ENV{CUDACXX})
  set(CMAKE_CUDA_COMPILER $ENV{CUDACXX})
endif()
if(NOT CMAKE_CUDA_COMPILER)
  file(GLOB BATON_CUDA_WHEEL
    ${CMAKE_CURRENT_LIST_DIR}/../../.deps/venv/lib/python3*/site-packages/nvidia/cu13/bin)
  find_program(BATON_NVCC nvcc HINTS ENV PATH $ENV{CUDA_HOME}/bin
    PATHS /usr/local/cuda/bin ${BATON_CUDA_WHEEL} NO_DEFAULT_PATH)
  if(BATON_NVCC)
    file(REAL_PATH ${BATON_NVCC} CMAKE_CUDA_COMPILER)
  endif()
endif()
# One too old is as good as none, and must not stop a build that would do without.
set(BATON_CUDA_VERSION_MIN 12.8)  # the first that knows sm_100
if(CMAKE_CUDA_COMPILER AND BATON_CUDA STREQUAL "AUTO")
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --version OUTPUT_VARIABLE version ERROR_QUIET)
  if(NOT version MATCHES "release ([0-9.]+)" OR CMAKE_MATCH_1 VERSION_LESS BATON_CUDA_VERSION_MIN)
    message(STATUS "CUDA: ${CMAKE_CUDA_COMPILER} is not CUDA ${BATON_CUDA_VERSION_MIN} or newer")
    unset(CMAKE_CUDA_COMPILER)
  endif()
endif()
if(NOT CMAKE_CUDA_COMPILER)
  if(BATON_CUDA STREQUAL "ON")
    message(FATAL_ERROR "No CUDA toolkit: nvcc is neither on the path nor in /usr/local/cuda nor in "
      ".deps/venv. To bring it (a compiler from wheels, no driver needed): "
      "deploy/deps/install.sh --cuda")
  endif()
  message(STATUS "CUDA: no toolkit found, the CPU alone (deploy/deps/install.sh --cuda brings one)")
  return()
endif()

set(CMAKE_CUDA_ARCHITECTURES ${BATON_CUDA_ARCHITECTURES})
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc 13 speaks C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
find_package(CUDAToolkit ${BATON_CUDA_VERSION_MIN} REQUIRED)
set(BATON_CUDA_FOUND ON CACHE INTERNAL "the CUDA language is enabled")
list(JOIN CMAKE_CUDA_ARCHITECTURES " " architectures)
message(STATUS "CUDA ${CUDAToolkit_VERSION} from ${CUDAToolkit_BIN_DIR} for ${architectures}")

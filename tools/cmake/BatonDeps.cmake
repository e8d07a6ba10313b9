# Every library Baton uses, found once. deploy/deps/install.sh installs them and says why.
find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(Boost 1.81 REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(fmt CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(yaml-cpp CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(simdjson CONFIG REQUIRED)
# Traces go out by OpenTelemetry's SDK. Without it everything builds, and --trace-endpoint says what is missing.
find_package(opentelemetry-cpp CONFIG QUIET)

# UCX: the wheel in .deps/venv (newer, fast puts over TCP, knows CUDA) when it is there, else the
# system's. -Ducx_ROOT=PATH picks a third one, such as an RDMA fleet's own build.
set(BATON_UCX auto CACHE STRING "auto (the wheel when installed) | wheel | system")
file(GLOB BATON_UCX_WHEEL ${CMAKE_SOURCE_DIR}/.deps/venv/lib/python3*/site-packages/libucx)
if(BATON_UCX STREQUAL "wheel" AND NOT BATON_UCX_WHEEL)
  message(FATAL_ERROR "BATON_UCX=wheel, but the wheel is missing: run deploy/deps/install.sh")
endif()
if(NOT DEFINED CACHE{ucx_ROOT})
  if(BATON_UCX_WHEEL AND NOT BATON_UCX STREQUAL "system")
    set(ucx_ROOT ${BATON_UCX_WHEEL})
  endif()
  if(NOT "${BATON_UCX_FOUND_FOR}" STREQUAL "${BATON_UCX}:${BATON_UCX_WHEEL}")
    unset(ucx_DIR CACHE)  # the choice changed since the last configure
  endif()
  set(BATON_UCX_FOUND_FOR "${BATON_UCX}:${BATON_UCX_WHEEL}" CACHE INTERNAL "")
endif()
# Installed binaries find the same UCX; it finds its own modules (lib/ucx) beside itself.
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
find_package(ucx CONFIG REQUIRED)
message(STATUS "UCX ${ucx_VERSION} from ${ucx_DIR}")

if(BATON_BUILD_TESTS OR NOT DEFINED BATON_BUILD_TESTS)
  find_package(GTest CONFIG REQUIRED)
endif()
if(BATON_BUILD_BENCH OR NOT DEFINED BATON_BUILD_BENCH)
  find_package(benchmark CONFIG REQUIRED)
endif()

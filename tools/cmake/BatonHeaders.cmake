# Headers parsed once per build instead of once per source: parsing is most of what compiling costs.
#   base  the standard library, Abseil and fmt
#   rpc   also gRPC, Boost.Beast, JSON and our own protocol
# each once for libraries and once, with googletest, for tests. A folder says which: rooms that speak to
# other processes set BATON_HEADERS to rpc. For gcc everything is `base`: it reads the whole of what it
# precompiled in each run, clang only what is used. Compiling takes about half the time with either.
#
# Sources still include what they use; -DBATON_PRECOMPILE=OFF shows one that does not, and so does
# clang-tidy.
option(BATON_PRECOMPILE "parse widely used headers once per build" ON)
set(BATON_HEADERS base)

set(BATON_HEADERS_BASE <algorithm> <atomic> <chrono> <cstring> <deque> <filesystem> <fstream> <functional>
  <map> <memory> <optional> <random> <set> <span> <string> <string_view> <thread> <vector>
  "\"absl/container/flat_hash_map.h\"" "\"absl/status/statusor.h\""
  "\"absl/synchronization/mutex.h\"" "\"absl/synchronization/notification.h\""
  "\"absl/time/clock.h\"" "\"fmt/format.h\"")
set(BATON_HEADERS_RPC <boost/asio.hpp> <boost/beast.hpp> <grpcpp/grpcpp.h> <nlohmann/json.hpp>
  <spdlog/spdlog.h> "\"baton/v1/inference.grpc.pb.h\"" "\"baton/v1/worker.grpc.pb.h\"")
set(BATON_HEADERS_TEST <gmock/gmock.h> <gtest/gtest.h>)

# What a precompiled header was compiled with is what its users are compiled with.
if(BATON_PRECOMPILE)
  add_compile_options(-pthread)
endif()
function(baton_uniform_definitions target)
  foreach(library fmt::fmt spdlog::spdlog)
    target_compile_definitions(${target} PRIVATE
      $<TARGET_PROPERTY:${library},INTERFACE_COMPILE_DEFINITIONS>)
  endforeach()
endfunction()

# baton_precompiled(target library|test)
function(baton_precompiled target kind)
  if(NOT BATON_PRECOMPILE)
    return()
  endif()
  set(headers ${BATON_HEADERS})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(headers base)
  endif()
  baton_uniform_definitions(${target})
  target_precompile_headers(${target} REUSE_FROM baton_headers_${headers}_${kind})
endfunction()

# What is spoken to other processes with is templates for the most part, and each source that speaks makes
# them anew: so these rooms' sources are compiled several at a time. -DBATON_UNITY=OFF: each by itself.
option(BATON_UNITY "compile sources of a room several at a time where that is faster" ON)
function(baton_together target)
  if(BATON_UNITY AND BATON_HEADERS STREQUAL "rpc")
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 6)
  endif()
endfunction()

function(baton_headers name kind)
  cmake_parse_arguments(A "" "" "HEADERS;DEPS" ${ARGN})
  set(target baton_headers_${name}_${kind})
  file(WRITE ${CMAKE_BINARY_DIR}/headers/empty.cc "")
  if(kind STREQUAL "test")
    file(WRITE ${CMAKE_BINARY_DIR}/headers/empty.cc "int main() {}\n")
    add_executable(${target} ${CMAKE_BINARY_DIR}/headers/empty.cc)
    target_compile_options(${target} PRIVATE ${BATON_TEST_OPTIMIZATION})
  else()
    add_library(${target} STATIC ${CMAKE_BINARY_DIR}/headers/empty.cc)
    target_compile_options(${target} PRIVATE ${BATON_LIBRARY_INSTRUMENTATION})
    if(name STREQUAL "rpc")
      target_compile_options(${target} PRIVATE ${BATON_RPC_OPTIMIZATION})
    endif()
  endif()
  set_target_properties(${target} PROPERTIES EXCLUDE_FROM_ALL ON)
  baton_uniform_definitions(${target})
  target_link_libraries(${target} PRIVATE ${A_DEPS})
  target_precompile_headers(${target} PRIVATE ${A_HEADERS})
endfunction()

if(BATON_PRECOMPILE)
  set(base_deps absl::flat_hash_map absl::statusor absl::synchronization absl::time fmt::fmt)
  set(rpc_deps ${base_deps} gRPC::grpc++ Boost::headers nlohmann_json::nlohmann_json spdlog::spdlog
    baton_proto)
  baton_headers(base library HEADERS ${BATON_HEADERS_BASE} DEPS ${base_deps})
  baton_headers(rpc library HEADERS ${BATON_HEADERS_BASE} ${BATON_HEADERS_RPC} DEPS ${rpc_deps})
  if(BATON_BUILD_TESTS)
    baton_headers(base test HEADERS ${BATON_HEADERS_BASE} ${BATON_HEADERS_TEST}
      DEPS ${base_deps} GTest::gmock GTest::gtest)
    baton_headers(rpc test HEADERS ${BATON_HEADERS_BASE} ${BATON_HEADERS_RPC} ${BATON_HEADERS_TEST}
      DEPS ${rpc_deps} GTest::gmock GTest::gtest)
  endif()
endif()

# One target per room.
#   baton_library(common_kv SOURCES a.cc b.cc DEPS common_base absl::flat_hash_map)
#   baton_binary(baton-router SOURCES main.cc DEPS ...)
#   baton_test(block_pool_test SOURCES block_pool_test.cc DEPS common_kv)   # gtest_main, one ctest
#   baton_bench(block_pool_bench SOURCES ... DEPS ...)                      # Google Benchmark, no ctest
# Includes are rooted at the repository ("common/kv/block_pool.h"); kernels' at kernels/include.
# Abseil comes as a library built without ThreadSanitizer; every program of such a build tells it what
# Abseil's locks order.
if(BATON_SANITIZE STREQUAL "thread")
  add_library(baton_tsan_absl OBJECT ${CMAKE_CURRENT_LIST_DIR}/tsan_absl.cc)
  target_link_libraries(baton_tsan_absl PUBLIC absl::synchronization ${CMAKE_DL_LIBS})
  set(BATON_PROGRAM_LIBRARIES baton_tsan_absl)
  # UCX hooks madvise(), which ThreadSanitizer's own start-up calls too early.
  set(BATON_SANITIZER_ENVIRONMENT
    "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tools/cmake/tsan.supp:ignore_noninstrumented_modules=1:halt_on_error=1"
    "UCX_MEM_MMAP_HOOK_MODE=none")
endif()

function(baton_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  if(A_SOURCES)
    add_library(${name} STATIC ${A_SOURCES})
    target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} PUBLIC ${A_DEPS})
    target_compile_options(${name} PRIVATE ${BATON_LIBRARY_INSTRUMENTATION})
    if(BATON_HEADERS STREQUAL "rpc")
      target_compile_options(${name} PRIVATE ${BATON_RPC_OPTIMIZATION})
    endif()
    baton_precompiled(${name} library)
    baton_together(${name})
  else()
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} INTERFACE ${A_DEPS})
  endif()
endfunction()

function(baton_binary name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${A_DEPS} ${BATON_PROGRAM_LIBRARIES})
endfunction()

function(baton_test name)
  if(NOT BATON_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 120)
  endif()
  add_executable(${name} ${A_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  # What a test says takes longer to optimize than to run.
  target_compile_options(${name} PRIVATE ${BATON_TEST_OPTIMIZATION})
  baton_precompiled(${name} test)
  baton_together(${name})
  target_link_libraries(${name} PRIVATE ${A_DEPS} ${BATON_PROGRAM_LIBRARIES} GTest::gmock GTest::gtest GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${A_TIMEOUT} LABELS "${A_LABELS}"
    ENVIRONMENT "BATON_SOURCE_DIR=${CMAKE_SOURCE_DIR};BATON_BIN_DIR=${CMAKE_BINARY_DIR}/bin;${BATON_SANITIZER_ENVIRONMENT}")
endfunction()

function(baton_bench name)
  if(NOT BATON_BUILD_BENCH)
    return()
  endif()
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${A_DEPS} benchmark::benchmark)
endfunction()

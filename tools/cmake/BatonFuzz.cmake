# Fuzz targets: one entry point for every parser of outside bytes.
#   baton_fuzz(text_tokenizer_fuzz SOURCES tokenizer_fuzz.cc DEPS common_text
#              [CORPUS file-or-folder …])      # default: testdata/fuzz/<name>
# The sources define LLVMFuzzerTestOneInput. In every build a target is a ctest that runs it once over
# each file of its seed corpus, so a target never rots and a crash once found, saved as a seed, stays
# fixed. With BATON_FUZZ=ON (preset "asan", clang) the same object is also linked to a libFuzzer binary,
# which tests/fuzz/run.sh runs.
option(BATON_FUZZ "build libFuzzer binaries as well (needs clang)" OFF)

set(BATON_FUZZ_DIR ${CMAKE_BINARY_DIR}/fuzz)
if(BATON_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "BATON_FUZZ needs clang; use the preset: cmake --preset asan")
  endif()
  # Coverage in the libraries of every room, so that the fuzzer sees into them.
  set(BATON_LIBRARY_INSTRUMENTATION -fsanitize=fuzzer-no-link)
  file(WRITE ${BATON_FUZZ_DIR}/targets.txt "")
  add_custom_target(fuzz_targets)
endif()

function(baton_fuzz name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS;CORPUS" ${ARGN})
  if(NOT A_CORPUS)
    set(A_CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/testdata/fuzz/${name})
  endif()
  if(NOT BATON_FUZZ AND NOT BATON_BUILD_TESTS)
    return()
  endif()
  baton_library(${name}_entry SOURCES ${A_SOURCES} DEPS ${A_DEPS})
  if(BATON_FUZZ)
    baton_fuzz_libfuzzer(${name} "${A_CORPUS}")
  endif()
  if(BATON_BUILD_TESTS)
    baton_fuzz_replay(${name} "${A_CORPUS}")
  endif()
endfunction()

function(baton_fuzz_libfuzzer name corpus)
  add_executable(${name}_libfuzzer $<TARGET_OBJECTS:${name}_entry>)
  target_link_libraries(${name}_libfuzzer PRIVATE ${name}_entry)
  target_link_options(${name}_libfuzzer PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name}_libfuzzer PROPERTIES OUTPUT_NAME ${name} LINKER_LANGUAGE CXX
    RUNTIME_OUTPUT_DIRECTORY ${BATON_FUZZ_DIR})
  add_dependencies(fuzz_targets ${name}_libfuzzer)
  list(JOIN corpus " " seeds)
  file(APPEND ${BATON_FUZZ_DIR}/targets.txt "${name} ${seeds}\n")
endfunction()

function(baton_fuzz_replay name corpus)
  add_executable(${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.cc)
  target_link_libraries(${name} PRIVATE ${name}_entry)
  add_test(NAME ${name} COMMAND ${name} ${corpus})
  set_tests_properties(${name} PROPERTIES TIMEOUT 120 LABELS fuzz)
endfunction()

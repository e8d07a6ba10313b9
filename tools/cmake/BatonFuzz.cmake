# Fuzz targets: one entry point for every parser of outside bytes.
#   baton_fuzz(text_tokenizer_fuzz SOURCES tokenizer_fuzz.cc DEPS common_text
#              [CORPUS file-or-folder …])      # default: testdata/fuzz/<name>
# The sources define LLVMFuzzerTestOneInput. With BATON_FUZZ=ON (preset "fuzz", clang) it becomes a
# libFuzzer binary, which tests/fuzz/run.sh runs. In every other build it becomes a ctest that runs
# the target once over each file of its seed corpus, so a target never rots and a crash once found,
# saved as a seed, stays fixed.
option(BATON_FUZZ "build libFuzzer binaries (needs clang)" OFF)

set(BATON_FUZZ_DIR ${CMAKE_BINARY_DIR}/fuzz)
if(BATON_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "BATON_FUZZ needs clang; use the preset: cmake --preset fuzz")
  endif()
  # Coverage everywhere, so that the fuzzer sees into our libraries.
  add_compile_options(-fsanitize=fuzzer-no-link)
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
  add_executable(${name} ${A_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${A_DEPS})
  if(BATON_FUZZ)
    baton_fuzz_libfuzzer(${name} "${A_CORPUS}")
  else()
    baton_fuzz_replay(${name} "${A_CORPUS}")
  endif()
endfunction()

function(baton_fuzz_libfuzzer name corpus)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${BATON_FUZZ_DIR})
  add_dependencies(fuzz_targets ${name})
  list(JOIN corpus " " seeds)
  file(APPEND ${BATON_FUZZ_DIR}/targets.txt "${name} ${seeds}\n")
endfunction()

function(baton_fuzz_replay name corpus)
  target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.cc)
  add_test(NAME ${name} COMMAND ${name} ${corpus})
  set_tests_properties(${name} PROPERTIES TIMEOUT 120 LABELS fuzz)
endfunction()

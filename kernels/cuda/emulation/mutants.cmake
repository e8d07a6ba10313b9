# Kernels with a mistake put in, made from the real sources when the build is configured: what the
# emulation must catch.
#   kernels_cuda_mutant(LaunchWithoutBarrier SOURCE attention/paged_decode.cu
#                       REPLACE "SyncBlock();" WITH "" )
# gives a library source whose launcher, Launch() of the source's header or another that is named
# LAUNCHER, is called as the mutant is.
# The first place that reads REPLACE is changed; that there is none stops the build of the mutants.
# With HEADER attention/prefill_lane.cuh and CLASS PrefillLane it is looked for there: the source gets
# a changed copy of that header, whose class has another name in every mutant.
set(BATON_MUTANTS "")
function(kernels_cuda_mutant name)
  cmake_parse_arguments(PARSE_ARGV 1 A "" "SOURCE;HEADER;CLASS;LAUNCHER;REPLACE;WITH" "")
  if(NOT A_LAUNCHER)
    set(A_LAUNCHER Launch)
  endif()
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/../${A_SOURCE})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  file(READ ${source} text)
  if(A_HEADER)
    set(header ${CMAKE_CURRENT_SOURCE_DIR}/../${A_HEADER})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${header})
    file(READ ${header} header_text)
    string(REPLACE "#pragma once\n" "" header_text "${header_text}")
    string(REPLACE "#include \"kernels/cuda/${A_HEADER}\"\n" "${header_text}" text "${text}")
    set(A_CLASS ${A_CLASS}=${A_CLASS}Of${name})
  endif()
  string(FIND "${text}" "${A_REPLACE}" at)
  if(at EQUAL -1)
    set(text "#error mutant ${name}: ${A_SOURCE} does not read '${A_REPLACE}' any more")
  else()
    string(LENGTH "${A_REPLACE}" length)
    math(EXPR end "${at} + ${length}")
    string(SUBSTRING "${text}" 0 ${at} before)
    string(SUBSTRING "${text}" ${end} -1 after)
    set(text "${before}${A_WITH}${after}")
  endif()
  set(mutant ${CMAKE_CURRENT_BINARY_DIR}/mutants/${name}.cu)
  file(GENERATE OUTPUT ${mutant} CONTENT "${text}")
  set_source_files_properties(${mutant} PROPERTIES
    GENERATED ON LANGUAGE CXX COMPILE_DEFINITIONS "${A_LAUNCHER}=${name};${A_CLASS}" COMPILE_OPTIONS -O0)
  set(BATON_MUTANTS ${BATON_MUTANTS} ${mutant} PARENT_SCOPE)
endfunction()

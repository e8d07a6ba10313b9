# Language, warnings, sanitizers and build accelerators: what is true for every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
# -O2, asserts stay on: our CHECK does not depend on NDEBUG, third-party asserts do.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
# Sanitizer builds: fast to compile, readable stacks.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1 -DNDEBUG")

add_compile_options(-Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers
                    -Wnon-virtual-dtor -Woverloaded-virtual -fno-omit-frame-pointer)

set(BATON_TEST_OPTIMIZATION -O1)
set(BATON_SANITIZE "" CACHE STRING "'' | address,undefined | thread")
if(BATON_SANITIZE)
  set(BATON_TEST_OPTIMIZATION -O0)
  # So it is with what speaks to other processes: templates for the most part.
  set(BATON_RPC_OPTIMIZATION -O0)
  add_compile_options(-fsanitize=${BATON_SANITIZE} -fno-sanitize-recover=all -g1)
  add_link_options(-fsanitize=${BATON_SANITIZE})
  # These two need every library, also those of the distribution, to be built alike.
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    add_compile_options(-fno-sanitize=vptr,function)
    add_link_options(-fno-sanitize=vptr,function)
    # gcc says by a macro what it sanitizes, clang only from version 21 on: sources ask the macro.
    if(BATON_SANITIZE MATCHES "address")
      add_compile_definitions(__SANITIZE_ADDRESS__=1)
    elseif(BATON_SANITIZE STREQUAL "thread")
      add_compile_definitions(__SANITIZE_THREAD__=1)
    endif()
  endif()
  if(BATON_SANITIZE STREQUAL "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wno-tsan)
  endif()
endif()

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # What precompiled headers need: macros are compared by their effect, __DATE__ and times not at all.
  set(CMAKE_CXX_COMPILER_LAUNCHER env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

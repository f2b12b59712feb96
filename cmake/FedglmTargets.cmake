# A folder is a target: fedglm_room(base DEPENDS ...) builds every .cc in the current folder
# into the static library fedglm_base, alias fedglm::base.
add_library(fedglm_flags INTERFACE)
target_compile_options(fedglm_flags INTERFACE -Wall -Wextra -Wno-missing-field-initializers
  $<$<BOOL:${FEDGLM_WARNINGS_AS_ERRORS}>:-Werror>
  "$<$<CXX_COMPILER_ID:Clang>:-Wthread-safety;-Werror=thread-safety>")
target_include_directories(fedglm_flags INTERFACE ${CMAKE_SOURCE_DIR})
if(FEDGLM_SANITIZE)
  add_compile_options(-fsanitize=${FEDGLM_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${FEDGLM_SANITIZE})
endif()

# What orchestrates rather than computes is not optimized in a sanitized build: GCC then takes half the time for a file that
# uses CLI11 or JSON (cli/adapter.cc 37 to 16 s, adapter_test.cc 27 to 15 s), and its tests wait for processes anyway.
function(fedglm_compile_fast target)
  if(FEDGLM_SANITIZE)
    target_compile_options(${target} PRIVATE -O0)
  endif()
endfunction()

function(fedglm_room name)
  cmake_parse_arguments(ROOM "" "" "DEPENDS;PRIVATE_DEPENDS;EXCLUDE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  foreach(pattern ${ROOM_EXCLUDE})
    list(FILTER sources EXCLUDE REGEX "/${pattern}$")
  endforeach()
  if(NOT sources)
    add_library(fedglm_${name} INTERFACE)
    add_library(fedglm::${name} ALIAS fedglm_${name})
    target_link_libraries(fedglm_${name} INTERFACE fedglm_flags ${ROOM_DEPENDS} ${ROOM_PRIVATE_DEPENDS})
    return()
  endif()
  add_library(fedglm_${name} STATIC ${sources})
  add_library(fedglm::${name} ALIAS fedglm_${name})
  target_link_libraries(fedglm_${name} PUBLIC fedglm_flags ${ROOM_DEPENDS} PRIVATE ${ROOM_PRIVATE_DEPENDS})
endfunction()

# fedglm_program(fedglm-node main.cc DEPENDS fedglm::client)
function(fedglm_program name main)
  cmake_parse_arguments(PROGRAM "" "" "DEPENDS" ${ARGN})
  add_executable(${name} ${main})
  target_link_libraries(${name} PRIVATE fedglm_flags ${PROGRAM_DEPENDS})
  fedglm_compile_fast(${name})
endfunction()

# fedglm_test(gguf DEPENDS fedglm::gguf) builds every *_test.cc in the current folder into one test program.
# OPTIMIZED: in a sanitized build too, because the tests themselves compute.
function(fedglm_test name)
  cmake_parse_arguments(TEST "OPTIMIZED" "" "DEPENDS;LABELS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cc)
  if(NOT sources)
    message(FATAL_ERROR "test ${name} has no *_test.cc")
  endif()
  add_executable(${name}_test ${sources})
  target_link_libraries(${name}_test PRIVATE fedglm_flags ${TEST_DEPENDS} GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name}_test PRIVATE FEDGLM_SOURCE_DIR="${CMAKE_SOURCE_DIR}" FEDGLM_BINARY_DIR="${CMAKE_BINARY_DIR}/bin")
  if(NOT TEST_OPTIMIZED)
    fedglm_compile_fast(${name}_test)
  endif()
  add_test(NAME ${name} COMMAND ${name}_test)
  set_tests_properties(${name} PROPERTIES TIMEOUT 900)
  if(FEDGLM_SANITIZE STREQUAL "thread")
    # Debian's gRPC, LibTorch and OpenBLAS are not instrumented: their own accesses are left out, and what they hand from
    # thread to thread is not looked at either (deploy/thread-sanitizer-suppressions).
    set_tests_properties(${name} PROPERTIES ENVIRONMENT_MODIFICATION
      "TSAN_OPTIONS=set:suppressions=${CMAKE_SOURCE_DIR}/deploy/thread-sanitizer-suppressions ignore_noninstrumented_modules=1")
  endif()
  if(TEST_LABELS)
    set_tests_properties(${name} PROPERTIES LABELS "${TEST_LABELS}")
  endif()
endfunction()

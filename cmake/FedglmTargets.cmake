# A folder is a target: fedglm_room(base DEPENDS ...) builds every .cc in the current folder
# into the static library fedglm_base, alias fedglm::base.
add_library(fedglm_flags INTERFACE)
target_compile_options(fedglm_flags INTERFACE -Wall -Wextra -Wno-missing-field-initializers
  $<$<BOOL:${FEDGLM_WARNINGS_AS_ERRORS}>:-Werror>
  "$<$<CXX_COMPILER_ID:Clang>:-Wthread-safety;-Werror=thread-safety>")
target_include_directories(fedglm_flags INTERFACE ${PROJECT_SOURCE_DIR})
if(FEDGLM_SANITIZE)
  add_compile_options(-fsanitize=${FEDGLM_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${FEDGLM_SANITIZE})
endif()

# What orchestrates rather than computes is not optimized in a sanitized build: GCC then takes half the time for a file that
# uses JSON (adapter_test.cc 27 to 15 s, json.cc 238 to 43 s), and its tests wait for processes anyway.
function(fedglm_compile_fast target)
  if(FEDGLM_SANITIZE)
    target_compile_options(${target} PRIVATE -O0)
  endif()
endfunction()

# Headers of others that many files parse, parsed once: fedglm_precompile(TARGET HEADER...). None of our own is among them: a
# change of one would compile everything anew. A second target with the same flags uses the first one's.
# GCC 12 forgets which precompiled lines were a system header's, and shows its false warnings on std::string's operator+ there
# (GCC's bug 105651).
set(fedglm_precompiled_flags "$<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds;-Wno-restrict;-Wno-stringop-overflow;-Wno-stringop-overread>")
function(fedglm_precompile target)
  if(FEDGLM_PRECOMPILE)
    target_precompile_headers(${target} PRIVATE ${ARGN})
    target_compile_options(${target} PRIVATE ${fedglm_precompiled_flags})
  endif()
endfunction()
function(fedglm_reuse_precompiled target from)
  if(FEDGLM_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM ${from})
    target_compile_options(${target} PRIVATE ${fedglm_precompiled_flags})
  endif()
endfunction()
set(fedglm_common_headers <nlohmann/json.hpp> <absl/status/status.h> <absl/status/statusor.h> <algorithm> <atomic> <chrono>
  <cstdint> <filesystem> <functional> <map> <memory> <mutex> <optional> <span> <string> <string_view> <thread> <utility> <vector>)

# What a room's users need beside its libraries, in this build and where it is installed (FedglmInstall.cmake). Warnings are
# not among it: whoever links a room from elsewhere chooses their own.
function(fedglm_room_usage name scope)
  target_compile_features(fedglm_${name} ${scope} cxx_std_20)
  target_include_directories(fedglm_${name} ${scope}
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include/fedglm>)
  set_target_properties(fedglm_${name} PROPERTIES EXPORT_NAME ${name})
endfunction()

# OPTIMIZED: in a sanitized build too, because it computes.
# PRECOMPILED_FROM another target (default: fedglm_headers), or NONE: for rooms whose files have flags of their own.
function(fedglm_room name)
  cmake_parse_arguments(ROOM "OPTIMIZED" "PRECOMPILED_FROM" "DEPENDS;PRIVATE_DEPENDS;EXCLUDE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  foreach(pattern ${ROOM_EXCLUDE})
    list(FILTER sources EXCLUDE REGEX "/${pattern}$")
  endforeach()
  if(NOT sources)
    add_library(fedglm_${name} INTERFACE)
    add_library(fedglm::${name} ALIAS fedglm_${name})
    target_link_libraries(fedglm_${name} INTERFACE ${ROOM_DEPENDS} ${ROOM_PRIVATE_DEPENDS})
    fedglm_room_usage(${name} INTERFACE)
    return()
  endif()
  add_library(fedglm_${name} STATIC ${sources})
  add_library(fedglm::${name} ALIAS fedglm_${name})
  target_link_libraries(fedglm_${name} PUBLIC ${ROOM_DEPENDS} PRIVATE ${ROOM_PRIVATE_DEPENDS} $<BUILD_INTERFACE:fedglm_flags>)
  fedglm_room_usage(${name} PUBLIC)
  if(NOT ROOM_OPTIMIZED)
    fedglm_compile_fast(fedglm_${name})
  endif()
  if(NOT ROOM_PRECOMPILED_FROM)
    set(ROOM_PRECOMPILED_FROM fedglm_headers)
    if(FEDGLM_SANITIZE AND ROOM_OPTIMIZED)
      set(ROOM_PRECOMPILED_FROM NONE)  # it was not optimized
    endif()
  endif()
  if(NOT ROOM_PRECOMPILED_FROM STREQUAL "NONE")
    fedglm_reuse_precompiled(fedglm_${name} ${ROOM_PRECOMPILED_FROM})
  endif()
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
# SHARDS n: CTest runs its tests as n processes, so that the slow ones do not stand in a row.
# ENVIRONMENT: of each of these tests, VARIABLE=VALUE.
# SANDBOXED: it starts programs whose sandbox forbids LeakSanitizer to trace them; addresses and undefined behaviour are
# checked all the same.
function(fedglm_test name)
  cmake_parse_arguments(TEST "OPTIMIZED;SANDBOXED" "SHARDS" "DEPENDS;LABELS;ENVIRONMENT" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cc)
  if(NOT sources)
    message(FATAL_ERROR "test ${name} has no *_test.cc")
  endif()
  add_executable(${name}_test ${sources})
  target_link_libraries(${name}_test PRIVATE fedglm_flags ${TEST_DEPENDS} GTest::gtest GTest::gmock GTest::gtest_main)
  target_link_libraries(${name}_test PRIVATE fedglm_test_support)
  # As gRPC's target asks for: GCC takes precompiled headers only where they were compiled with the same.
  target_compile_options(${name}_test PRIVATE -pthread)
  if(NOT TEST_OPTIMIZED)
    fedglm_compile_fast(${name}_test)
    fedglm_reuse_precompiled(${name}_test fedglm_test_headers)
  endif()
  if(NOT TEST_SHARDS)
    set(TEST_SHARDS 1)
  endif()
  if(TEST_SANDBOXED AND FEDGLM_SANITIZE MATCHES "address")
    list(APPEND TEST_ENVIRONMENT "ASAN_OPTIONS=detect_leaks=0")
  endif()
  math(EXPR last "${TEST_SHARDS} - 1")
  foreach(shard RANGE ${last})
    set(test ${name})
    list(TRANSFORM TEST_ENVIRONMENT REPLACE "^([A-Z_]+)=" "\\1=set:" OUTPUT_VARIABLE environment)
    if(TEST_SHARDS GREATER 1)
      set(test ${name}.${shard})
      list(APPEND environment "GTEST_TOTAL_SHARDS=set:${TEST_SHARDS}" "GTEST_SHARD_INDEX=set:${shard}")
    endif()
    if(FEDGLM_SANITIZE STREQUAL "thread")
      # Debian's gRPC, LibTorch and OpenBLAS are not instrumented: their own accesses are left out, and what they hand from
      # thread to thread is not looked at either (deploy/thread-sanitizer-suppressions).
      list(APPEND environment
        "TSAN_OPTIONS=set:suppressions=${CMAKE_SOURCE_DIR}/deploy/thread-sanitizer-suppressions ignore_noninstrumented_modules=1")
    endif()
    add_test(NAME ${test} COMMAND ${name}_test)
    set_tests_properties(${test} PROPERTIES TIMEOUT 900 ENVIRONMENT_MODIFICATION "${environment}" LABELS "${TEST_LABELS}")
    # Written down when all targets are known (tests/CMakeLists.txt).
    set_property(GLOBAL APPEND PROPERTY FEDGLM_TESTS "${test}|${name}_test|${TEST_LABELS}|${CMAKE_CURRENT_SOURCE_DIR}")
  endforeach()
endfunction()

# What `cmake --install` puts down: the programs; the engine and adapter/ as static libraries, with the headers that their
# users include; fedglm-config.cmake and fedglm.pc, which find them (docs/library.md).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# fedglm.pc and the exported targets name them from where they are themselves.
foreach(folder LIBDIR INCLUDEDIR BINDIR)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${folder}}")
    message(FATAL_ERROR "CMAKE_INSTALL_${folder} must be relative to the prefix")
  endif()
endforeach()

# What others may include. What these include is installed as well (InstallHeaders.cmake).
set(public_headers
  adapter/adapter.h adapter/safetensors.h adapter/tensors.h
  base/digest.h base/log.h base/status.h
  inference/engine/engine.h inference/engine/generation.h
  inference/sampling/sampler.h inference/tokenizer/chat_template.h inference/tokenizer/tokenizer.h)
foreach(header ${public_headers})
  if(NOT EXISTS ${PROJECT_SOURCE_DIR}/${header})
    message(FATAL_ERROR "FedglmInstall.cmake: no header ${header}")
  endif()
endforeach()

# Puts `target` and all rooms that it links in front of the list, each before those that it uses, as a linker wants them.
function(fedglm_prepend_rooms target list)
  get_target_property(actual ${target} ALIASED_TARGET)
  set(rooms ${${list}})
  if(actual IN_LIST rooms)
    return()
  endif()
  get_target_property(links ${actual} INTERFACE_LINK_LIBRARIES)
  foreach(link ${links})
    if(link MATCHES "(fedglm::[a-z_]+)")
      fedglm_prepend_rooms(${CMAKE_MATCH_1} rooms)
    endif()
  endforeach()
  set(${list} ${actual} ${rooms} PARENT_SCOPE)
endfunction()
set(rooms)
fedglm_prepend_rooms(fedglm::adapter rooms)
fedglm_prepend_rooms(fedglm::engine rooms)

install(TARGETS ${rooms} EXPORT fedglm-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT libraries)
install(CODE "set(FEDGLM_SOURCE_DIR \"${PROJECT_SOURCE_DIR}\")
set(FEDGLM_PUBLIC_HEADERS \"${public_headers}\")
set(FEDGLM_HEADER_DESTINATION include/fedglm)" COMPONENT libraries)
install(SCRIPT ${PROJECT_SOURCE_DIR}/cmake/InstallHeaders.cmake COMPONENT libraries)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/fedglm)
install(EXPORT fedglm-targets NAMESPACE fedglm:: DESTINATION ${package} COMPONENT libraries)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/fedglm-config.cmake.in
  ${PROJECT_BINARY_DIR}/package/fedglm-config.cmake INSTALL_DESTINATION ${package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/fedglm-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/package/fedglm-config.cmake ${PROJECT_BINARY_DIR}/package/fedglm-config-version.cmake
  DESTINATION ${package} COMPONENT libraries)

list(TRANSFORM rooms PREPEND -l OUTPUT_VARIABLE pc_libraries)
list(JOIN pc_libraries " " pc_libraries)
# From the folder of fedglm.pc up to the prefix, so that an installation can be moved.
file(RELATIVE_PATH pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" pc_prefix ${pc_prefix})
configure_file(${PROJECT_SOURCE_DIR}/cmake/fedglm.pc.in ${PROJECT_BINARY_DIR}/package/fedglm.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/package/fedglm.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT libraries)

install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION share/doc/fedglm COMPONENT libraries)
if(FEDGLM_PROGRAMS)
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION share/doc/fedglm COMPONENT programs)
  # They look for each other in their own folder, and the demo for its base beside that (cli/demo/demo.cc).
  install(TARGETS fedglm fedglm-node fedglm-aggregator fedglm-trainer fedglm-evaluator hospital-records
    RUNTIME DESTINATION bin COMPONENT programs)
  install(FILES ${PROJECT_SOURCE_DIR}/examples/hospital/glm4-hospital.gguf
    DESTINATION share/fedglm COMPONENT programs)
endif()

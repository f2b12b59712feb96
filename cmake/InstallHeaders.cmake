# Run by `cmake --install`: FEDGLM_PUBLIC_HEADERS, paths in FEDGLM_SOURCE_DIR, and all headers of ours that they include,
# into FEDGLM_HEADER_DESTINATION below the prefix.
cmake_policy(VERSION 3.25)
set(pending ${FEDGLM_PUBLIC_HEADERS})
set(seen)
while(pending)
  list(POP_FRONT pending header)
  set(file ${FEDGLM_SOURCE_DIR}/${header})
  if(header IN_LIST seen OR NOT EXISTS ${file})  # absl/status/status.h and the like are others'
    continue()
  endif()
  list(APPEND seen ${header})
  get_filename_component(folder ${header} DIRECTORY)
  file(INSTALL ${file} DESTINATION "${CMAKE_INSTALL_PREFIX}/${FEDGLM_HEADER_DESTINATION}/${folder}")
  file(STRINGS ${file} includes REGEX "^#include \"")
  list(TRANSFORM includes REPLACE "^#include \"([^\"]+)\".*" "\\1")
  list(APPEND pending ${includes})
endwhile()

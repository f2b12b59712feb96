# LibTorch, found only for training/ (and its tests). Its headers take 20 s a file: they are precompiled once.
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
set(fedglm_flags_before_torch "${CMAKE_CXX_FLAGS}")
find_package(Torch REQUIRED)
# Torch's package writes into the global flags; what it needs is taken by target instead.
set(CMAKE_CXX_FLAGS "${fedglm_flags_before_torch}")

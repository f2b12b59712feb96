#include "inference/model/row_kernels.h"

namespace fedglm {

const RowKernels& RowKernelsFor(std::string_view instruction_set) {
  const RowKernels* found = nullptr;
  if (instruction_set.starts_with("avx512") || instruction_set.starts_with("amx")) found = Avx512RowKernels();
  if (instruction_set.starts_with("avx2")) found = Avx2RowKernels();
  return found != nullptr ? *found : *PortableRowKernels();
}

}  // namespace fedglm

// A small adapter of two modules, every value different.
#pragma once

#include "adapter/adapter.h"

namespace fedglm {

inline Matrix CountedMatrix(int64_t rows, int64_t columns, float first) {
  Matrix matrix = Matrix::Zero(rows, columns);
  for (size_t i = 0; i < matrix.values.size(); ++i) matrix.values[i] = first + 0.125f * static_cast<float>(i);
  return matrix;
}

// Rank 2; q_proj 3 → 4, down_proj 5 → 3.
inline Adapter SampleAdapter() {
  Adapter adapter;
  adapter.config.rank = 2;
  adapter.config.alpha = 4.5;
  adapter.config.target_modules = {"down_proj", "q_proj"};
  adapter.config.base_model = "glm4-tiny";
  adapter.modules["model.layers.0.self_attn.q_proj"] = {CountedMatrix(2, 3, 1), CountedMatrix(4, 2, -7)};
  adapter.modules["model.layers.1.mlp.down_proj"] = {CountedMatrix(2, 5, 100), CountedMatrix(3, 2, 0.1f)};
  return adapter;
}

inline Provenance SampleProvenance() {
  Provenance provenance;
  provenance.base_sha256 = std::string(64, 'a');
  provenance.federation = "radiology \"north\"";
  provenance.round = 7;
  provenance.mode = "freeze-a";
  provenance.contributors = {std::string(64, 'b'), std::string(64, 'c')};
  provenance.weights_sha256 = std::string(64, 'd');
  provenance.signature = "c2lnbmF0dXJl";
  return provenance;
}

}  // namespace fedglm

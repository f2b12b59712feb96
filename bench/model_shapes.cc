// The shapes of published models, from their config.json.
#include <string>

#include "bench/random_model.h"

namespace fedglm::bench {
namespace {

Hyperparameters Glm4(int64_t layers, int64_t hidden, int64_t feed_forward, int64_t heads, int64_t head_size,
                     int64_t vocabulary, int64_t context_length) {
  Hyperparameters shape;
  shape.layers = layers;
  shape.hidden = hidden;
  shape.feed_forward = feed_forward;
  shape.heads = heads;
  shape.kv_heads = 2;
  shape.head_size = head_size;
  shape.rotary_size = head_size / 2;  // partial_rotary_factor 0.5
  shape.rotary_base = 10000.0;
  shape.rms_epsilon = 1e-5;
  shape.vocabulary = vocabulary;
  shape.context_length = context_length;
  shape.qkv_bias = true;
  return shape;
}

Hyperparameters Llama(int64_t layers, int64_t hidden, int64_t feed_forward, int64_t heads, int64_t kv_heads,
                      double rotary_base, int64_t vocabulary, int64_t context_length) {
  Hyperparameters shape;
  shape.layers = layers;
  shape.hidden = hidden;
  shape.feed_forward = feed_forward;
  shape.heads = heads;
  shape.kv_heads = kv_heads;
  shape.head_size = shape.rotary_size = 64;
  shape.rotary_base = rotary_base;
  shape.rms_epsilon = 1e-5;
  shape.vocabulary = vocabulary;
  shape.context_length = context_length;
  shape.tied_embeddings = true;
  return shape;
}

struct NamedShape {
  std::string_view name, architecture;
  Hyperparameters shape;
};

const std::vector<NamedShape>& Shapes() {
  static const std::vector<NamedShape> shapes = {
      {"glm4-9b", "glm4", Glm4(40, 4096, 13696, 32, 128, 151552, 32768)},  // zai-org/GLM-4-9B-0414
      {"glm4-tiny", "glm4", Glm4(2, 256, 256, 4, 64, 1024, 2048)},         // the golden data's
      {"llama3.2-1b", "llama", Llama(16, 2048, 8192, 32, 8, 500000.0, 128256, 131072)},
      {"smollm2-135m", "llama", Llama(30, 576, 1536, 9, 3, 100000.0, 49152, 8192)},
  };
  return shapes;
}

}  // namespace

std::vector<std::string> KnownShapes() {
  std::vector<std::string> names;
  for (const NamedShape& known : Shapes()) names.emplace_back(known.name);
  return names;
}

absl::StatusOr<Hyperparameters> ShapeOf(std::string_view name) {
  std::string names;
  for (const NamedShape& known : Shapes()) {
    if (known.name == name) {
      Hyperparameters shape = known.shape;
      shape.name = name;
      FEDGLM_ASSIGN_OR_RETURN(shape.architecture, FindArchitecture(known.architecture));
      shape.rotary_layout = shape.architecture->rotary_layout;
      return shape;
    }
    names += (names.empty() ? "" : ", ") + std::string(known.name);
  }
  return UsageError("no shape is called '" + std::string(name) + "' (known: " + names + ")");
}

}  // namespace fedglm::bench

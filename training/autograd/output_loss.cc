#include "training/autograd/output_loss.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "inference/kernels/kernels.h"

namespace fedglm {
namespace {

constexpr int64_t kLogitFloats = 4 << 20;  // at once: 16 MiB

// Turns logits into softmax minus onehot, in place, and returns -log of the target's probability.
double SoftmaxLoss(float* logits, int64_t vocabulary, Token target) {
  const float highest = *std::max_element(logits, logits + vocabulary);
  const float of_target = logits[target];
  double sum = 0;
  for (int64_t v = 0; v < vocabulary; ++v) sum += logits[v] = std::exp(logits[v] - highest);
  const float inverse = static_cast<float>(1.0 / sum);
  for (int64_t v = 0; v < vocabulary; ++v) logits[v] *= inverse;
  logits[target] -= 1.0f;
  return std::log(sum) + highest - of_target;
}

struct OutputLossFunction : torch::autograd::Function<OutputLossFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& hidden,
                            const SharedWeight& weight, const at::Tensor& targets) {
    const int64_t rows = hidden.size(0), width = weight->matrix.columns, vocabulary = weight->matrix.rows;
    const at::Tensor input = hidden.contiguous();
    const bool backward_wanted = hidden.requires_grad();
    at::Tensor gradient = backward_wanted ? at::empty({rows, width}, hidden.options()) : at::Tensor();
    const auto* target = targets.data_ptr<int32_t>();
    const int64_t chunk = std::max<int64_t>(1, kLogitFloats / vocabulary);
    std::vector<float> logits(static_cast<size_t>(std::min(chunk, std::max<int64_t>(1, rows)) * vocabulary));
    std::vector<double> losses(static_cast<size_t>(rows));
    for (int64_t first = 0; first < rows; first += chunk) {
      const int64_t count = std::min(chunk, rows - first);
      MatMul(weight->matrix, input.data_ptr<float>() + first * width, count, logits.data(), *weight->pool);
      weight->pool->ParallelFor(count, 8, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          losses[static_cast<size_t>(first + i)] =
              SoftmaxLoss(logits.data() + i * vocabulary, vocabulary, target[first + i]);
        }
      });
      if (backward_wanted) {
        MatMulTransposed(weight->matrix, logits.data(), count, gradient.data_ptr<float>() + first * width,
                         *weight->pool);
      }
    }
    if (backward_wanted) context->save_for_backward({gradient});
    double total = 0;
    for (const double loss : losses) total += loss;
    return at::scalar_tensor(total, at::TensorOptions().dtype(at::kDouble));
  }

  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               torch::autograd::tensor_list gradients) {
    const at::Tensor dhidden = context->get_saved_variables()[0] * gradients[0].to(at::kFloat);
    return {dhidden, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor OutputLoss(const at::Tensor& hidden, const SharedWeight& output, const std::vector<Token>& targets) {
  const at::Tensor list = at::from_blob(const_cast<Token*>(targets.data()), {static_cast<int64_t>(targets.size())},
                                        at::TensorOptions().dtype(at::kInt));
  return OutputLossFunction::apply(hidden, output, list);
}

}  // namespace fedglm

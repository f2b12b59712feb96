#include "training/autograd/mapped_linear.h"

#include <torch/torch.h>

#include "inference/kernels/kernels.h"

namespace fedglm {
namespace {

struct MappedLinearFunction : torch::autograd::Function<MappedLinearFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const SharedWeight& weight) {
    context->saved_data["weight"] = c10::IValue::make_capsule(weight);
    const at::Tensor input = x.contiguous();
    at::Tensor y = at::empty({x.size(0), weight->matrix.rows}, x.options());
    MatMul(weight->matrix, input.data_ptr<float>(), x.size(0), y.data_ptr<float>(), *weight->pool);
    return y;
  }

  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               torch::autograd::tensor_list gradients) {
    if (!context->needs_input_grad(0)) return {at::Tensor(), at::Tensor()};
    const auto weight = c10::static_intrusive_pointer_cast<MappedWeight>(context->saved_data["weight"].toCapsule());
    const at::Tensor dy = gradients[0].contiguous();
    at::Tensor dx = at::empty({dy.size(0), weight->matrix.columns}, dy.options());
    MatMulTransposed(weight->matrix, dy.data_ptr<float>(), dy.size(0), dx.data_ptr<float>(), *weight->pool);
    return {dx, at::Tensor()};
  }
};

}  // namespace

at::Tensor MappedLinear(const at::Tensor& x, const SharedWeight& weight) {
  return MappedLinearFunction::apply(x, weight);
}

}  // namespace fedglm

#include "aggregator/strategy/stacking.h"

#include <Eigen/Dense>
#include <numeric>

namespace fedglm {
namespace {

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::MatrixXd ToEigen(const Matrix& matrix) {
  return Eigen::Map<const RowMajor>(matrix.values.data(), matrix.rows, matrix.columns).cast<double>();
}

Matrix FromEigen(const Eigen::MatrixXd& values) {
  Matrix matrix = Matrix::Zero(values.rows(), values.cols());
  Eigen::Map<RowMajor>(matrix.values.data(), matrix.rows, matrix.columns) = values.cast<float>();
  return matrix;
}

// m = q r with orthonormal columns in q: [rows][k], r: [k][columns], k = min(rows, columns).
struct ThinQr {
  Eigen::MatrixXd q, r;
  explicit ThinQr(const Eigen::MatrixXd& m) {
    const Eigen::HouseholderQR<Eigen::MatrixXd> qr(m);
    const Eigen::Index k = std::min(m.rows(), m.cols());
    q = qr.householderQ() * Eigen::MatrixXd::Identity(m.rows(), k);
    r = qr.matrixQR().topRows(k).triangularView<Eigen::Upper>();
  }
};

}  // namespace

void FactorStack::Add(const LoraPair& pair, double weight) {
  pairs_.push_back(pair);
  weights_.push_back(weight);
}

StackedFactors FactorStack::Mean() const {
  const double total = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  int64_t rank = 0;
  for (const LoraPair& pair : pairs_) rank += pair.a.rows;
  const int64_t inputs = pairs_.front().a.columns, outputs = pairs_.front().b.rows;
  StackedFactors stacked = {Matrix::Zero(rank, inputs), Matrix::Zero(outputs, rank)};
  int64_t offset = 0;
  for (size_t k = 0; k < pairs_.size(); ++k) {
    const LoraPair& pair = pairs_[k];
    std::copy(pair.a.values.begin(), pair.a.values.end(), stacked.a.values.begin() + offset * inputs);
    const double share = weights_[k] / total;
    for (int64_t row = 0; row < outputs; ++row) {
      for (int64_t column = 0; column < pair.b.columns; ++column) {
        stacked.b.values[static_cast<size_t>(row * rank + offset + column)] =
            static_cast<float>(share * pair.b.values[static_cast<size_t>(row * pair.b.columns + column)]);
      }
    }
    offset += pair.a.rows;
  }
  return stacked;
}

TruncatedPair TruncateToRank(const StackedFactors& factors, int64_t rank) {
  // b a = Qb (Rb Raᵀ) Qaᵀ, and the matrix in the middle is as small as the stacked rank.
  const ThinQr b(ToEigen(factors.b)), a(ToEigen(factors.a).transpose());
  const Eigen::BDCSVD<Eigen::MatrixXd> svd(b.r * a.r.transpose(), Eigen::ComputeThinU | Eigen::ComputeThinV);
  const Eigen::VectorXd& values = svd.singularValues();
  const Eigen::Index kept = std::min<Eigen::Index>(rank, values.size());
  const Eigen::VectorXd roots = values.head(kept).cwiseSqrt();
  TruncatedPair result;
  result.squared_norm = values.squaredNorm();
  result.squared_error = values.tail(values.size() - kept).squaredNorm();
  // Room that the product does not need stays zero.
  Eigen::MatrixXd new_b = Eigen::MatrixXd::Zero(factors.b.rows, rank), new_a = Eigen::MatrixXd::Zero(rank, factors.a.columns);
  new_b.leftCols(kept) = b.q * svd.matrixU().leftCols(kept) * roots.asDiagonal();
  new_a.topRows(kept) = roots.asDiagonal() * svd.matrixV().leftCols(kept).transpose() * a.q.transpose();
  result.pair = {FromEigen(new_a), FromEigen(new_b)};
  return result;
}

}  // namespace fedglm

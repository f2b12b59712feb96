#include "aggregator/strategy/truncation.h"

#include <Eigen/Dense>
#include <algorithm>

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
  Eigen::MatrixXd new_b = Eigen::MatrixXd::Zero(factors.b.rows, rank);
  Eigen::MatrixXd new_a = Eigen::MatrixXd::Zero(rank, factors.a.columns);
  new_b.leftCols(kept) = b.q * svd.matrixU().leftCols(kept) * roots.asDiagonal();
  new_a.topRows(kept) = roots.asDiagonal() * svd.matrixV().leftCols(kept).transpose() * a.q.transpose();
  result.pair = {FromEigen(new_a), FromEigen(new_b)};
  return result;
}

}  // namespace fedglm

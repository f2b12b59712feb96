// Cuts a tile into blocks whose sums fit into registers. Internal linkage, as in tile_loops.h.
#pragma once

#include <cstdint>

namespace fedglm {
namespace {

// Calls block.operator()<kRows, kTokens>(row, token) for blocks of 4 rows by kMostTokens tokens, and for smaller ones
// at the tile's ends.
template <int kMostTokens, typename Block>
void ForEachBlock(int64_t rows, int64_t tokens, const Block& block) {
  const auto all_tokens = [&]<int kRows>(int64_t row) {
    int64_t t = 0;
    for (; t + kMostTokens <= tokens; t += kMostTokens) block.template operator()<kRows, kMostTokens>(row, t);
    for (; t + 2 <= tokens; t += 2) block.template operator()<kRows, 2>(row, t);
    if (t < tokens) block.template operator()<kRows, 1>(row, t);
  };
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) all_tokens.template operator()<4>(r);
  for (; r < rows; ++r) all_tokens.template operator()<1>(r);
}

}  // namespace
}  // namespace fedglm

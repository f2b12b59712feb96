// The fuzz targets over their corpus, without libFuzzer: what was found once stays found in every build. Then over some
// mutants of each seed, always the same.
#include <algorithm>
#include <filesystem>
#include <random>
#include <vector>

#include "base/file.h"
#include "gtest/gtest.h"
#include "tests/fuzz/fuzz_targets.h"
#include "tests/support/source_tree.h"

namespace fedglm::fuzz {
namespace {

constexpr int kMutantsOfASeed = 400;

std::vector<std::string> Seeds(const Target& target) {
  std::vector<std::filesystem::path> paths;
  const std::filesystem::path folder = SourceFolder() / "tests/fuzz/corpus" / target.name;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> seeds;
  for (const std::filesystem::path& path : paths) seeds.push_back(*ReadFile(path));
  return seeds;
}

class Corpus : public testing::TestWithParam<Target> {};

TEST_P(Corpus, EverySeedIsReadOrRefused) {
  const std::vector<std::string> seeds = Seeds(GetParam());
  ASSERT_FALSE(seeds.empty());
  GetParam().run("");
  for (const std::string& seed : seeds) GetParam().run(seed);
}

// Cut short, a few bytes changed, a part of another seed put in.
TEST_P(Corpus, MutantsOfTheSeedsAreReadOrRefused) {
  const std::vector<std::string> seeds = Seeds(GetParam());
  std::mt19937 random(1);
  const auto below = [&](size_t bound) { return bound == 0 ? 0 : random() % bound; };
  for (const std::string& seed : seeds) {
    for (int i = 0; i < kMutantsOfASeed; ++i) {
      std::string mutant = seed;
      const std::string& other = seeds[below(seeds.size())];
      const size_t at = below(mutant.size()), from = below(other.size());
      switch (i % 4) {
        case 0:
          mutant.resize(at);
          break;
        case 1:
          mutant.replace(at, below(16), other, from, below(32));
          break;
        case 2:
          mutant.insert(at, mutant, at, below(64));
          break;
        default:
          break;
      }
      for (size_t changes = below(4); changes > 0 && !mutant.empty(); --changes) {
        mutant[below(mutant.size())] = static_cast<char>(random());
      }
      GetParam().run(mutant);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fuzz, Corpus, testing::ValuesIn(kTargets),
                         [](const testing::TestParamInfo<Target>& info) { return info.param.name; });

}  // namespace
}  // namespace fedglm::fuzz

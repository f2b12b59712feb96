// bench-kernels: matrix multiplication by block type and instruction set. One token shows how near decoding comes to
// the memory's bandwidth; many tokens show the arithmetic of a prefill.
#include "inference/kernels/kernels.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "bench/measurement_program.h"
#include "bench/random_blocks.h"
#include "inference/kernels/instruction_sets.h"
#include "inference/memory/bandwidth.h"

namespace fedglm::bench {
namespace {

constexpr double kGiga = 1e9;
// Together the copies of the matrix are far larger than a last-level cache: one token reads memory, not cache.
constexpr uint64_t kCopiesBytes = uint64_t{256} << 20;
// The scalar reference multiplies a part of the rows, or it would run for minutes.
constexpr int64_t kScalarShare = 16;

struct KernelOptions {
  int64_t rows = 4096, columns = 13696, tokens = 128;
  int threads = 2, repetitions = 5;
  std::vector<std::string> types = {"F32",  "F16",  "BF16", "Q8_0", "Q4_0", "Q4_1",   "Q5_0",  "Q5_1",
                                    "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"};
  std::vector<std::string> instruction_sets;  // empty: all that the machine has
  bool json = false;
};

// The fastest of several runs: what the code can do when nobody disturbs it.
double BestSeconds(int repetitions, const std::function<void()>& body) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repetitions; ++i) {
    const Stopwatch stopwatch;
    body();
    best = std::min(best, stopwatch.Seconds());
  }
  return best;
}

class KernelBench {
 public:
  explicit KernelBench(const KernelOptions& options)
      : options_(options),
        pool_(options.threads),
        x_(static_cast<size_t>(options.tokens * options.columns)),
        y_(static_cast<size_t>(options.tokens * options.rows)) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (float& value : x_) value = normal(random);
  }

  absl::Status Run() {
    FEDGLM_RETURN_IF_ERROR(CheckInstructionSetOfEnvironment());
    std::vector<std::string> sets = options_.instruction_sets;
    if (sets.empty()) {
      for (const std::string_view name : AvailableInstructionSets()) sets.emplace_back(name);
    }
    const std::vector<std::byte> buffer(kCopiesBytes, std::byte{1});
    double bandwidth = 0;
    for (int i = 0; i < options_.repetitions; ++i) bandwidth = std::max(bandwidth, ReadBandwidth(buffer, pool_));
    if (!options_.json) {
      std::printf("%lld x %lld, %d threads, memory is read at %.1f GB/s\n%-8s %-10s %14s %14s\n",
                  static_cast<long long>(options_.rows), static_cast<long long>(options_.columns), pool_.threads(),
                  bandwidth / kGiga, "type", "kernels", "1 token GB/s",
                  (std::to_string(options_.tokens) + " GMAC/s").c_str());
    }
    for (const std::string& name : options_.types) {
      FEDGLM_ASSIGN_OR_RETURN(const BlockType type, BlockTypeFromName(name));
      FEDGLM_RETURN_IF_ERROR(RunType(type, sets));
    }
    if (options_.json) {
      const Json result = {{"version", 1}, {"read_bytes_per_second", bandwidth}, {"kernels", rows_}};
      std::printf("%s\n", DumpJson(result, 2).c_str());
    }
    return absl::OkStatus();
  }

 private:
  absl::Status RunType(BlockType type, const std::vector<std::string>& sets) {
    const BlockTypeFacts& facts = FactsOf(type);
    const std::string name(facts.name);
    if (options_.columns % facts.weights_per_block != 0) {
      std::fprintf(stderr, "%s: skipped (its blocks do not divide the columns)\n", name.c_str());
      return absl::OkStatus();
    }
    const uint64_t bytes = static_cast<uint64_t>(options_.rows * RowBytes(type, options_.columns));
    const uint64_t copies = std::max<uint64_t>(1, (kCopiesBytes + bytes - 1) / bytes);
    std::vector<std::byte> blocks(bytes * copies);
    FEDGLM_ASSIGN_OR_RETURN(RandomBlocks random, RandomBlocks::Make(type, 0.02f, 1));
    random.Fill(blocks);
    for (const std::string& set : sets) {
      FEDGLM_RETURN_IF_ERROR(SelectInstructionSet(set));
      const int64_t rows = set == "scalar" ? std::max<int64_t>(1, options_.rows / kScalarShare) : options_.rows;
      const double one = Seconds(type, blocks, copies, rows, 1);
      const double many = Seconds(type, blocks, 1, rows, options_.tokens);
      const double read = static_cast<double>(rows * RowBytes(type, options_.columns)) / one;
      const double products =
          static_cast<double>(rows * options_.columns) * static_cast<double>(options_.tokens) / many;
      if (options_.json) {
        rows_.push_back({{"type", name},
                         {"instruction_set", set},
                         {"bytes_per_second", read},
                         {"multiply_adds_per_second", products}});
      } else {
        std::printf("%-8s %-10s %14.2f %14.2f\n", name.c_str(), set.c_str(), read / kGiga, products / kGiga);
        std::fflush(stdout);
      }
    }
    return absl::OkStatus();
  }

  // One multiplication, each time with the next copy.
  double Seconds(BlockType type, const std::vector<std::byte>& blocks, uint64_t copies, int64_t rows, int64_t tokens) {
    QuantizedRows x;
    x.Assign(x_.data(), tokens, options_.columns, pool_);
    const size_t bytes = static_cast<size_t>(options_.rows * RowBytes(type, options_.columns));
    size_t copy = 0;
    return BestSeconds(options_.repetitions * static_cast<int>(std::min<uint64_t>(copies, 4)), [&] {
      const WeightMatrix weights = {type, blocks.data() + copy * bytes, rows, options_.columns};
      MatMul(weights, x, y_.data(), pool_);
      copy = (copy + 1) % copies;
    });
  }

  const KernelOptions options_;
  ThreadPool pool_;
  std::vector<float> x_, y_;
  Json rows_ = Json::array();
};

}  // namespace
}  // namespace fedglm::bench

int main(int argc, char** argv) {
  using namespace fedglm;
  bench::KernelOptions options;
  CommandLine line("bench-kernels", "Matrix multiplication by block type and instruction set");
  Command app = line.root();
  app.Add("--types", options.types, "block types, comma-separated").Separated(',').ShowDefault();
  app.Add("--isa", options.instruction_sets, "instruction sets, comma-separated; all by default").Separated(',');
  app.Add("--rows", options.rows).ShowDefault().Between(1, 1 << 20);
  app.Add("--columns", options.columns).ShowDefault().Between(1, 1 << 20);
  app.Add("--tokens", options.tokens, "of the second figure").ShowDefault().Between(1, 1 << 16);
  app.Add("-t,--threads", options.threads).ShowDefault().Between(1, 1024);
  app.Add("-r,--repetitions", options.repetitions, "the best one counts").ShowDefault().Between(1, 1000);
  app.AddFlag("--json", options.json);
  return line.Run(argc, argv, [&] { return bench::KernelBench(options).Run(); });
}

#include "inference/kernels/instruction_sets.h"

#include <atomic>
#include <cstdlib>
#include <string>

#include "inference/kernels/product_kernels.h"
#include "inference/kernels/row_kernels.h"

// A row's last three columns, where this build holds the set's code, and what stands there elsewhere.
#define FEDGLM_HERE(supported, products, rows) supported, &products, &rows
#define FEDGLM_ELSEWHERE(supported, products, rows) nullptr, nullptr, nullptr

#if defined(__x86_64__)
#include "inference/kernels/x86/amx_permission.h"
#define FEDGLM_X86 FEDGLM_HERE
#else
#define FEDGLM_X86 FEDGLM_ELSEWHERE
#endif

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#define FEDGLM_ARM FEDGLM_HERE
#else
#define FEDGLM_ARM FEDGLM_ELSEWHERE
#endif

namespace fedglm {
namespace {

// ---- What this CPU has.

bool Always() { return true; }

#if defined(__x86_64__)
bool HasAvx2() {
  // Every CPU with AVX2 has F16C, for which clang 14 knows no name.
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool HasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
}
bool HasAvx512Vnni() { return HasAvx512() && __builtin_cpu_supports("avx512vnni"); }
bool HasAvx512Bf16() { return HasAvx512() && __builtin_cpu_supports("avx512bf16"); }
bool HasAmx() { return HasAvx512() && __builtin_cpu_supports("avx512vbmi") && AmxInt8Permitted(); }
#elif defined(__aarch64__) && defined(__linux__)
bool HasDotProduct() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
bool HasMatrixProduct() { return HasDotProduct() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0; }
#endif

// ---- The table.

struct InstructionSetRow {
  const char* name;
  const char* needs;               // of the CPU, in words
  bool (*supported)();             // does this CPU have that? nullptr: this build has no code for it
  const ProductKernels* products;  // a function that is nullptr is that of the available row above
  const RowKernels* rows;
};

// Slowest first. The compiler's flags for each are in cmake/instruction-sets.txt.
constexpr InstructionSetRow kInstructionSets[] = {
    {"scalar", "any CPU", FEDGLM_HERE(Always, kScalarProducts, kPortableRows)},
    {"avx2", "AVX2, FMA and F16C", FEDGLM_X86(HasAvx2, kAvx2Products, kAvx2Rows)},
    {"avx512", "AVX-512 F, BW, VL and DQ", FEDGLM_X86(HasAvx512, kAvx512Products, kAvx512Rows)},
    {"avx512vnni", "AVX-512 VNNI", FEDGLM_X86(HasAvx512Vnni, kAvx512VnniProducts, kAvx512Rows)},
    {"avx512bf16", "AVX-512 BF16", FEDGLM_X86(HasAvx512Bf16, kAvx512Bf16Products, kAvx512Rows)},
    {"amx", "AMX with 8-bit integers, and AVX-512 VBMI", FEDGLM_X86(HasAmx, kAmxProducts, kAvx512Rows)},
    {"neon", "ARM's dot products of bytes", FEDGLM_ARM(HasDotProduct, kNeonProducts, kPortableRows)},
    {"neon_i8mm", "ARM's matrix products of bytes", FEDGLM_ARM(HasMatrixProduct, kNeonI8mmProducts, kPortableRows)},
};

// A row that this CPU can use, with nothing left out.
struct AvailableSet {
  std::string_view name;
  ProductKernels products;
  const RowKernels* rows;
};

// What `products` has not, it has from `slower`.
ProductKernels InheritMissing(ProductKernels products, const ProductKernels& slower) {
  const auto inherit = [](auto& function, auto other) {
    if (function == nullptr) function = other;
  };
  inherit(products.decode_row, slower.decode_row);
  inherit(products.multiply_tile, slower.multiply_tile);
  inherit(products.accumulate_tile, slower.accumulate_tile);
  inherit(products.multiply_bf16, slower.multiply_bf16);
  inherit(products.quantize_row, slower.quantize_row);
  inherit(products.dot_rows, slower.dot_rows);
  inherit(products.multiply_levels, slower.multiply_levels);
  return products;
}

// Slowest first.
const std::vector<AvailableSet>& AvailableSets() {
  static const std::vector<AvailableSet> available = [] {
    std::vector<AvailableSet> sets;
    for (const InstructionSetRow& row : kInstructionSets) {
      if (row.supported == nullptr || !row.supported()) continue;
      sets.push_back(
          {row.name, sets.empty() ? *row.products : InheritMissing(*row.products, sets.back().products), row.rows});
    }
    return sets;
  }();
  return available;
}

// ---- The choice.

const AvailableSet* Find(std::string_view name) {
  for (const AvailableSet& set : AvailableSets()) {
    if (set.name == name) return &set;
  }
  return nullptr;
}

std::string Listed(const std::vector<std::string_view>& names) {
  std::string list;
  for (const std::string_view name : names) list.append(list.empty() ? "" : ", ").append(name);
  return list;
}

// One line that says why Find has nothing of that name.
std::string WhyNot(std::string_view name) {
  std::string line = "'" + std::string(name) + "' is not an instruction set that fedglm knows";
  for (const InstructionSetRow& row : kInstructionSets) {
    if (name == row.name) line = "this machine does not have '" + std::string(name) + "', which needs " + row.needs;
  }
  return line + " (known: " + Listed(KnownInstructionSets()) +
         "; this machine has: " + Listed(AvailableInstructionSets()) + ")";
}

// nullptr: the environment names none.
const char* NameInEnvironment() {
  const char* const name = std::getenv("FEDGLM_ISA");
  return name != nullptr && *name != '\0' ? name : nullptr;
}

const AvailableSet* FirstChoice() {
  const char* const name = NameInEnvironment();
  const AvailableSet* const wanted = name != nullptr ? Find(name) : nullptr;
  return wanted != nullptr ? wanted : &AvailableSets().back();
}

std::atomic<const AvailableSet*>& Chosen() {
  static std::atomic<const AvailableSet*> chosen = FirstChoice();
  return chosen;
}

const AvailableSet& ChosenSet() { return *Chosen().load(std::memory_order_relaxed); }

}  // namespace

std::vector<std::string_view> KnownInstructionSets() {
  std::vector<std::string_view> names;
  for (const InstructionSetRow& row : kInstructionSets) names.emplace_back(row.name);
  return names;
}

std::vector<std::string_view> AvailableInstructionSets() {
  std::vector<std::string_view> names;
  for (const AvailableSet& set : AvailableSets()) names.emplace_back(set.name);
  return names;
}

absl::Status CheckInstructionSetOfEnvironment() {
  const char* const name = NameInEnvironment();
  if (name == nullptr || Find(name) != nullptr) return absl::OkStatus();
  return ConfigurationError("FEDGLM_ISA: " + WhyNot(name));
}

std::string_view InstructionSet() { return ChosenSet().name; }

absl::Status SelectInstructionSet(std::string_view name) {
  const AvailableSet* const set = Find(name);
  if (set == nullptr) return UsageError(WhyNot(name));
  Chosen() = set;
  return absl::OkStatus();
}

const ProductKernels& ChosenProducts() { return ChosenSet().products; }
const RowKernels& ChosenRowKernels() { return *ChosenSet().rows; }

}  // namespace fedglm

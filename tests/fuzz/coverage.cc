// Tells libFuzzer which code ran. GCC's -fsanitize-coverage=trace-pc calls one function in every basic block; libFuzzer
// takes counters of clang's form, one a block. Here blocks share a table by a hash of their address: as many slots as
// leave collisions rare.
//
// libFuzzer's own __sanitizer_cov_trace_pc only says that it is not supported: the linker (--wrap) takes this one
// instead.
#include <array>
#include <cstddef>
#include <cstdint>

extern "C" {
void __sanitizer_cov_8bit_counters_init(uint8_t* begin, uint8_t* end);
void __sanitizer_cov_pcs_init(const uintptr_t* begin, const uintptr_t* end);  // two words a counter: address, flags
}

namespace {

constexpr unsigned kBits = 18;
constexpr size_t kCounters = size_t{1} << kBits;

std::array<uint8_t, kCounters> counters;
std::array<uintptr_t, 2 * kCounters>
    addresses;  // libFuzzer counts what is covered by them; a slot stands for its blocks

[[gnu::constructor]] void Register() {
  for (size_t i = 0; i < kCounters; ++i) addresses[2 * i] = i + 1;
  __sanitizer_cov_8bit_counters_init(counters.data(), counters.data() + counters.size());
  __sanitizer_cov_pcs_init(addresses.data(), addresses.data() + addresses.size());
}

}  // namespace

extern "C" void __wrap___sanitizer_cov_trace_pc() {
  const uint64_t block = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  ++counters[(block * 0x9E3779B97F4A7C15u) >> (64 - kBits)];  // Fibonacci hashing
}

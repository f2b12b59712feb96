// The registers of the emulated CPU, and what its instructions share. Included by immintrin.h's parts alone.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

// Code for these would ask for more intrinsics; without them the kernels' headers take their portable ways.
#undef __AVX2__
#undef __F16C__

#include "inference/quantization/half.h"

// KeepOrder orders registers, of which there are none here.
#define asm(...)

struct __m128 {
  float lanes[4];
};
struct __m128i {
  int32_t lanes[4];
};
struct __m256 {
  float lanes[8];
};
struct __m256i {
  int32_t lanes[8];
};
struct __m512 {
  float lanes[16];
};
struct __m512i {
  int32_t lanes[16];
};

namespace emulation {

[[noreturn]] static inline void Fault(const char* what) {
  std::fprintf(stderr, "emulated CPU: fault: %s\n", what);
  std::abort();
}

template <typename Register>
static inline Register Load(const void* from, uintptr_t alignment) {
  if (reinterpret_cast<uintptr_t>(from) % alignment != 0) Fault("misaligned load");
  Register value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

template <typename Register>
static inline void Store(void* to, const Register& value, uintptr_t alignment) {
  if (reinterpret_cast<uintptr_t>(to) % alignment != 0) Fault("misaligned store");
  std::memcpy(to, &value, sizeof(value));
}

// What `lane(i)` is, in every lane.
template <typename Register, typename Lane>
static inline Register Each(Lane lane) {
  Register value;
  int i = 0;
  for (auto& out : value.lanes) out = lane(i++);
  return value;
}

// `low` and above it what is undefined: here nonsense.
template <typename Register, typename Low>
static inline Register Widened(const Low& low) {
  Register value;
  std::memset(&value, 0x5A, sizeof(value));
  std::memcpy(&value, &low, sizeof(low));
  return value;
}

template <typename Register>
static inline Register AllBytes(char x) {
  Register value;
  std::memset(&value, x, sizeof(value));
  return value;
}

// Number `index` of the Numbers that a register holds.
template <typename Number, typename Register>
static inline Number Part(const Register& value, int index) {
  Number part;
  std::memcpy(&part, reinterpret_cast<const char*>(&value) + index * static_cast<int>(sizeof(part)), sizeof(part));
  return part;
}

// What `word(i)` is, in every 16-bit lane.
template <typename Register, typename Word>
static inline Register EachWord(Word word) {
  uint16_t words[sizeof(Register) / 2];
  int i = 0;
  for (uint16_t& out : words) out = static_cast<uint16_t>(word(i++));
  return Load<Register>(words, 1);
}

// 16-bit lanes of a by a count: what is shifted out is gone.
template <typename Register>
static inline int RightShifted(const Register& a, int i, unsigned count) {
  return count > 15 ? 0 : Part<uint16_t>(a, i) >> count;
}

}  // namespace emulation

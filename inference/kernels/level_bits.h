// Levels out of the bits of a block, 32 at once: nibbles, fifth bits, tables. Internal linkage, as in levels.h.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace fedglm {
namespace {

// What the compiler does not find by itself. A block's 16 bytes of nibbles are its 32 levels, the low ones first; fifth
// bits are bit i of four bytes; a table of 16 bytes may be looked up for each nibble. Whole registers are stored: to
// load 32 bytes that were stored as two halves stalls.
#if defined(__AVX2__)
__m256i Nibbles(const uint8_t* nibbles) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(nibbles));
  const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(bytes), _mm_srli_epi16(bytes, 4), 1);
  return _mm256_and_si256(both, _mm256_set1_epi8(15));
}
void SplitNibbles(const uint8_t* nibbles, uint8_t* levels) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(levels), Nibbles(nibbles));
}
void SplitFiveBits(const uint8_t* nibbles, const uint8_t* fifth_bits, uint8_t* levels) {
  int32_t bits;
  std::memcpy(&bits, fifth_bits, sizeof(bits));
  // Byte i of the register gets the byte that holds bit i; then only that bit is looked at.
  const __m256i holder = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201));
  const __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), holder);
  const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(levels),
                      _mm256_or_si256(Nibbles(nibbles), _mm256_and_si256(set, _mm256_set1_epi8(16))));
}
void LookUpNibbles(const uint8_t* nibbles, const int8_t* table, uint8_t* levels) {
  const __m256i values = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(levels), _mm256_shuffle_epi8(values, Nibbles(nibbles)));
}
// levels = (bytes >> shift) & mask, and levels |= ((bytes >> shift) & mask) << up, over 32 bytes. Shifted as 16 bits:
// what crosses a byte is masked out, and mask << up fits a byte.
void TakeBits(const uint8_t* bytes, int shift, uint8_t mask, uint8_t* levels) {
  const __m256i shifted = _mm256_srli_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)), shift);
  const __m256i taken = _mm256_and_si256(shifted, _mm256_set1_epi8(static_cast<char>(mask)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(levels), taken);
}
void AddBits(const uint8_t* bytes, int shift, uint8_t mask, int up, uint8_t* levels) {
  const __m256i shifted = _mm256_srli_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)), shift);
  const __m256i taken = _mm256_and_si256(shifted, _mm256_set1_epi8(static_cast<char>(mask)));
  __m256i* const at = reinterpret_cast<__m256i*>(levels);
  _mm256_storeu_si256(at, _mm256_or_si256(_mm256_loadu_si256(at), _mm256_slli_epi16(taken, up)));
}
#else
void TakeBits(const uint8_t* __restrict bytes, int shift, uint8_t mask, uint8_t* __restrict levels) {
  for (int i = 0; i < 32; ++i) levels[i] = static_cast<uint8_t>((bytes[i] >> shift) & mask);
}
void AddBits(const uint8_t* __restrict bytes, int shift, uint8_t mask, int up, uint8_t* __restrict levels) {
  for (int i = 0; i < 32; ++i) levels[i] = static_cast<uint8_t>(levels[i] | (((bytes[i] >> shift) & mask) << up));
}
void SplitNibbles(const uint8_t* __restrict nibbles, uint8_t* __restrict levels) {
  for (int i = 0; i < 16; ++i) levels[i] = nibbles[i] & 15;
  for (int i = 0; i < 16; ++i) levels[i + 16] = nibbles[i] >> 4;
}
void SplitFiveBits(const uint8_t* nibbles, const uint8_t* fifth_bits, uint8_t* levels) {
  uint32_t bits;
  std::memcpy(&bits, fifth_bits, sizeof(bits));
  SplitNibbles(nibbles, levels);
  for (int i = 0; i < 32; ++i) levels[i] = static_cast<uint8_t>(levels[i] | (((bits >> i) & 1) << 4));
}
void LookUpNibbles(const uint8_t* __restrict nibbles, const int8_t* table, uint8_t* __restrict levels) {
  for (int i = 0; i < 16; ++i) levels[i] = static_cast<uint8_t>(table[nibbles[i] & 15]);
  for (int i = 0; i < 16; ++i) levels[i + 16] = static_cast<uint8_t>(table[nibbles[i] >> 4]);
}
#endif

}  // namespace
}  // namespace fedglm

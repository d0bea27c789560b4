/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Every use of vector instructions in Sluice, behind one header: SSE2/SSE4.2/AVX2, NEON with the
 * CRC extension, and plain C. The choice is made by the compiler's target flags (meson's "cpu").
 *
 * Each simd_x has a plain_x with the same meaning, which stands in where the target lacks the
 * instructions and which tests compare it with. Pure; any thread. */

#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif
#if defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

#if defined(__SANITIZE_THREAD__)
#define SIMD_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SIMD_TSAN 1
#endif
#endif

/* --- tags ------------------------------------------------------------------------------------- */

/* Bit i of the answer: tags[i] == tag. Other threads may store to the tags meanwhile, by atomic
 * 16-bit stores: each tag is then seen old or new, never torn. The loads are relaxed; the caller
 * orders whatever it reads on the strength of a match. */
static inline uint32_t plain_match8_u16(const uint16_t tags[8], uint16_t tag)
{
	uint32_t mask = 0;

	for (unsigned i = 0; i < 8; i++)
		mask |= (uint32_t)(__atomic_load_n(&tags[i], __ATOMIC_RELAXED) == tag) << i;
	return mask;
}

/* The thread sanitizer does not see atomic 16-bit lanes in a 128-bit load. */
static inline uint32_t simd_match8_u16(const uint16_t tags[8], uint16_t tag)
{
#if defined(__SSE2__) && !defined(SIMD_TSAN)
	__m128i have = _mm_loadu_si128((const __m128i *)(const void *)tags);
	__m128i hit = _mm_cmpeq_epi16(have, _mm_set1_epi16((short)tag));

	return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(hit, _mm_setzero_si128()));
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(SIMD_TSAN)
	static const uint8_t weight[8] = {1, 2, 4, 8, 16, 32, 64, 128};
	uint8x8_t hit = vmovn_u16(vceqq_u16(vld1q_u16(tags), vdupq_n_u16(tag)));

	return vaddv_u8(vand_u8(hit, vld1_u8(weight)));
#else
	return plain_match8_u16(tags, tag);
#endif
}

/* Is there an i with tags[i] == tag? *at: the least. Loads as above. */
static inline bool plain_first8_u16(const uint16_t tags[8], uint16_t tag, uint32_t *at)
{
	uint32_t mask = plain_match8_u16(tags, tag);

	if (mask == 0)
		return false;
	*at = (uint32_t)__builtin_ctz(mask);
	return true;
}

static inline bool simd_first8_u16(const uint16_t tags[8], uint16_t tag, uint32_t *at)
{
#if defined(__SSE2__) && !defined(SIMD_TSAN)
	__m128i have = _mm_loadu_si128((const __m128i *)(const void *)tags);
	__m128i hit = _mm_cmpeq_epi16(have, _mm_set1_epi16((short)tag));
	uint32_t mask = (uint32_t)_mm_movemask_epi8(hit); /* two bits a tag */

	if (mask == 0)
		return false;
	*at = (uint32_t)__builtin_ctz(mask) / 2;
	return true;
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(SIMD_TSAN)
	uint8x8_t hit = vmovn_u16(vceqq_u16(vld1q_u16(tags), vdupq_n_u16(tag)));
	uint64_t mask = vget_lane_u64(vreinterpret_u64_u8(hit), 0); /* eight bits a tag */

	if (mask == 0)
		return false;
	*at = (uint32_t)__builtin_ctzll(mask) / 8;
	return true;
#else
	return plain_first8_u16(tags, tag, at);
#endif
}

/* --- few values --------------------------------------------------------------------------------
 */

/* Is one of the eight v? */
static inline bool plain_any8_u32(const uint32_t have[8], uint32_t v)
{
	uint32_t same = 0;

	for (unsigned i = 0; i < 8; i++)
		same |= have[i] == v;
	return same != 0;
}

static inline bool simd_any8_u32(const uint32_t have[8], uint32_t v)
{
#if defined(__SSE2__)
	const __m128i *p = (const __m128i *)(const void *)have;
	__m128i all = _mm_set1_epi32((int)v);

	return _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi32(_mm_loadu_si128(p), all),
		       _mm_cmpeq_epi32(_mm_loadu_si128(p + 1), all))) != 0;
#elif defined(__aarch64__) && defined(__ARM_NEON)
	uint32x4_t all = vdupq_n_u32(v);

	return vmaxvq_u32(vorrq_u32(
		       vceqq_u32(vld1q_u32(have), all), vceqq_u32(vld1q_u32(have + 4), all))) != 0;
#else
	return plain_any8_u32(have, v);
#endif
}

/* --- ones' complement sums -------------------------------------------------------------------- */

/* Adds len bytes to sum as 16-bit words in memory order, a last odd byte padded with zero; 64-bit
 * and unfolded. It is congruent to the RFC 1071 sum modulo 0xffff; fold before use. */
static inline uint64_t plain_sum16(const uint8_t *p, uint32_t len, uint64_t sum)
{
	uint32_t word;

	while (len >= 4) {
		memcpy(&word, p, 4);
		sum += word;
		p += 4;
		len -= 4;
	}
	if (len != 0) {
		word = 0;
		memcpy(&word, p, len);
		sum += word;
	}
	return sum;
}

static inline uint64_t simd_sum16(const uint8_t *p, uint32_t len, uint64_t sum)
{
#if defined(__AVX2__)
	if (len >= 32) {
		__m256i zero = _mm256_setzero_si256();
		__m256i acc = zero;
		uint64_t lane[4];

		do {
			__m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);

			acc = _mm256_add_epi64(acc, _mm256_unpacklo_epi32(v, zero));
			acc = _mm256_add_epi64(acc, _mm256_unpackhi_epi32(v, zero));
			p += 32;
			len -= 32;
		} while (len >= 32);
		_mm256_storeu_si256((__m256i *)(void *)lane, acc);
		sum += lane[0] + lane[1] + lane[2] + lane[3];
	}
#elif defined(__SSE2__)
	if (len >= 16) {
		__m128i zero = _mm_setzero_si128();
		__m128i acc = zero;
		uint64_t lane[2];

		do {
			__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);

			acc = _mm_add_epi64(acc, _mm_unpacklo_epi32(v, zero));
			acc = _mm_add_epi64(acc, _mm_unpackhi_epi32(v, zero));
			p += 16;
			len -= 16;
		} while (len >= 16);
		_mm_storeu_si128((__m128i *)(void *)lane, acc);
		sum += lane[0] + lane[1];
	}
#elif defined(__ARM_NEON)
	if (len >= 16) {
		uint64x2_t acc = vdupq_n_u64(0);

		do {
			acc = vpadalq_u32(acc, vreinterpretq_u32_u8(vld1q_u8(p)));
			p += 16;
			len -= 16;
		} while (len >= 16);
		sum += vgetq_lane_u64(acc, 0) + vgetq_lane_u64(acc, 1);
	}
#endif
	return plain_sum16(p, len, sum);
}

/* --- CRC32c (Castagnoli, reflected) ----------------------------------------------------------- */

/* The shift register over len bytes: no inversion before or after. */
static inline uint32_t plain_crc32c(const uint8_t *p, uint32_t len, uint32_t reg)
{
	/* Four bits a step: the table stays in one cache line where the instruction is missing. */
	static const uint32_t step[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
		0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6,
		0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};

	while (len-- != 0) {
		reg ^= *p++;
		reg = reg >> 4 ^ step[reg & 15];
		reg = reg >> 4 ^ step[reg & 15];
	}
	return reg;
}

static inline uint32_t simd_crc32c(const uint8_t *p, uint32_t len, uint32_t reg)
{
#if defined(__SSE4_2__) && defined(__x86_64__)
	uint64_t word, wide = reg;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&word, p, 8);
		wide = _mm_crc32_u64(wide, word);
	}
	reg = (uint32_t)wide;
	while (len-- != 0)
		reg = _mm_crc32_u8(reg, *p++);
	return reg;
#elif defined(__ARM_FEATURE_CRC32)
	uint64_t word;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&word, p, 8);
		reg = __crc32cd(reg, word);
	}
	while (len-- != 0)
		reg = __crc32cb(reg, *p++);
	return reg;
#else
	return plain_crc32c(p, len, reg);
#endif
}

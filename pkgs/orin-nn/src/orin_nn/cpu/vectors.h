// Clang's vectors, which are portable: only how wide they are, and how many, depends on the
// processor. A vector lies along the axis that is summed, since the compiler may not reorder a sum
// by itself: it is LANES partial ones until it ends.

// The width of the processor's registers, and how many sums leave room in them for the rest.
#if defined(__AVX512F__)
#define LANES 16
#define SUMS 24
#elif defined(__AVX__)
#define LANES 8
#define SUMS 8
#elif defined(__aarch64__)
#define LANES 4
#define SUMS 24
#else
#define LANES 4
#define SUMS 8
#endif

// Of how wide vectors are passed: all functions but one become part of that one.
#pragma clang diagnostic ignored "-Wpsabi"
#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("clang loop unroll(full)")
// Aligned as its elements are, since rows begin anywhere.
#define VECTOR(type, size) __attribute__((ext_vector_type(size), aligned(sizeof(type)))) type

typedef unsigned char byte;
typedef VECTOR(float, 4) Four;
typedef VECTOR(float, 8) Eight;
typedef VECTOR(float, LANES) Lanes;

INLINE Lanes lanes(const float *at) { return *(Lanes *)at; }

INLINE float total(Lanes sum) {
#if LANES == 16
  Eight eight = sum.lo + sum.hi;
  Four four = eight.lo + eight.hi;
#elif LANES == 8
  Four four = sum.lo + sum.hi;
#else
  Four four = sum;
#endif
  return (four.x + four.z) + (four.y + four.w);
}

// e^x, between 2^-125 and 2^125. 2^f, |f| <= 1/2, is the Taylor series of e^(f log 2), whose next
// term is below 2e-7; adding and subtracting 1.5 2^23 rounds.
INLINE float power(float x) {
  float z = x * 1.44269504f;
  z = z < -125 ? -125 : z > 125 ? 125 : z;
  float whole = (z + 12582912.0f) - 12582912.0f, f = (z - whole) * 0.693147181f;
  float e = 1 / 24.f + f * (1 / 120.f + f * (1 / 720.f));
  e = 1 + f * (1 + f * (1 / 2.f + f * (1 / 6.f + f * e)));
  union { int bits; float value; } scale = {((int)whole + 127) << 23};
  return e * scale.value;
}

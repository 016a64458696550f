// New tokens' queries into q (N, HEADS, D), rotated and scaled by 1/sqrt(D); their keys, rotated,
// and values into cache (2, KV_HEADS, SLOTS, D); from qkv (N, (HEADS + 2 KV_HEADS) * D).
//
// Before it stands vectors.h, and defined are N, HEADS, KV_HEADS, D, SLOTS, POSITIONS, THREADS;
// PAIRS, whether neighbours are rotated instead of the halves of a head; and EPS where queries and
// keys are normalized.

#define ALL (HEADS + 2 * KV_HEADS)

INLINE float square(const float *restrict x) {
  Lanes sum = 0;
  UNROLLED for (int i = 0; i < D; i += LANES) sum += lanes(x + i) * lanes(x + i);
  return total(sum);
}

void enter(float *restrict q, __fp16 *restrict cache, const float *restrict qkv,
           const float *restrict table, const int *restrict rows,
#ifdef EPS
           const float *restrict query_norm, const float *restrict key_norm,
#endif
           int core) {
  for (long part = core; part < (long)N * ALL; part += THREADS) {
    long row = part / ALL, head = part % ALL;
    long position = rows[row * 3 + 1], slot = rows[row * 3 + 2];
    const float *x = qkv + part * D;
    const float *cosine = table + position * (D / 2), *sine = cosine + (long)POSITIONS * (D / 2);
    float turned[D];
    if (head < HEADS + KV_HEADS) {
      float normal[D];
      for (int i = 0; i < D; i++) normal[i] = x[i];
#ifdef EPS
      const float *weight = head < HEADS ? query_norm : key_norm;
      float scale = 1 / __builtin_sqrtf(square(x) / D + EPS);
      for (int i = 0; i < D; i++) normal[i] *= scale * weight[i];
#endif
      for (int i = 0; i < D / 2; i++) {
        int a = PAIRS ? 2 * i : i, b = PAIRS ? 2 * i + 1 : i + D / 2;
        turned[a] = normal[a] * cosine[i] - normal[b] * sine[i];
        turned[b] = normal[b] * cosine[i] + normal[a] * sine[i];
      }
    }
    if (head < HEADS) {
      float scale = 1 / __builtin_sqrtf(D), *to = q + (row * HEADS + head) * D;
      for (int i = 0; i < D; i++) to[i] = turned[i] * scale;
    } else {
      const float *from = head < HEADS + KV_HEADS ? turned : x;
      __fp16 *to = cache + ((head - HEADS) * SLOTS + slot) * D;
      for (int i = 0; i < D; i++) to[i] = from[i];
    }
  }
}

// out (N, HEADS * D): attention of q (N, HEADS, D), scaled, over cache (2, KV_HEADS, SLOTS, D).
//
// Before it stands vectors.h, and defined are N, HEADS, KV_HEADS, D, SLOTS, THREADS; PAGE, and the
// PAGES and SEQUENCES of the table. A query's softmax is computed as its pages pass by
// (arXiv:2205.14135): the weights so far are scaled down when a larger score comes.

#define PIECES (D / LANES)
typedef VECTOR(__fp16, LANES) Halves;

INLINE Lanes widened(const __fp16 *at) { return __builtin_convertvector(*(Halves *)at, Lanes); }

INLINE void attend(float *restrict out, const float *restrict q, const __fp16 *restrict keys,
                   const __fp16 *restrict values, const int *restrict pages, int position) {
  Lanes sums[PIECES];
  UNROLLED for (int p = 0; p < PIECES; p++) sums[p] = 0;
  float largest = -1e30f, weights = 0;
  for (int first = 0; first <= position; first += PAGE) {
    long slot = (long)pages[first / PAGE] * PAGE;
    int count = position + 1 - first < PAGE ? position + 1 - first : PAGE;
    float scores[PAGE], top = largest;
    for (int i = 0; i < PAGE; i++) {
      Lanes score = 0;
      UNROLLED for (int p = 0; p < PIECES; p++)
        score += widened(keys + (slot + i) * D + p * LANES) * lanes(q + p * LANES);
      scores[i] = i < count ? total(score) : -1e30f;
      top = scores[i] > top ? scores[i] : top;
    }
    for (int i = 0; i < PAGE; i++) scores[i] = power(scores[i] - top);
    float kept = power(largest - top);
    largest = top, weights *= kept;
    UNROLLED for (int p = 0; p < PIECES; p++) sums[p] *= kept;
    for (int i = 0; i < count; i++) {
      weights += scores[i];
      UNROLLED for (int p = 0; p < PIECES; p++)
        sums[p] += widened(values + (slot + i) * D + p * LANES) * scores[i];
    }
  }
  UNROLLED for (int p = 0; p < PIECES; p++) *(Lanes *)(out + p * LANES) = sums[p] / weights;
}

void attention(float *restrict out, const float *restrict q, const __fp16 *restrict cache,
               const int *restrict rows, const int *restrict pages, int core) {
  // In turns: later queries see more.
  for (long query = core; query < (long)N * HEADS; query += THREADS) {
    long row = query / HEADS, head = query % HEADS / (HEADS / KV_HEADS);
    const __fp16 *keys = cache + head * SLOTS * D, *values = keys + (long)KV_HEADS * SLOTS * D;
    const int *held = pages + (SEQUENCES == N ? row : 0) * PAGES;
    attend(out + query * D, q + query * D, keys, values, held, rows[row * 3 + 1]);
  }
}

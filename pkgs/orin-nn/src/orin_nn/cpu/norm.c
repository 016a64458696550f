// y (N, K): x over the root of each row's mean square, times weight (K).
//
// Before it stands vectors.h, and defined are N, K, EPS, THREADS.

void norm(float *restrict y, const float *restrict x, const float *restrict weight, int core) {
  for (long row = (long)N * core / THREADS; row < (long)N * (core + 1) / THREADS; row++) {
    const float *from = x + row * K;
    Lanes sums = 0;
    for (int k = 0; k < K / LANES * LANES; k += LANES) sums += lanes(from + k) * lanes(from + k);
    float sum = total(sums);
    for (int k = K / LANES * LANES; k < K; k++) sum += from[k] * from[k];
    float scale = 1 / __builtin_sqrtf(sum / K + EPS);
    for (int k = 0; k < K; k++) y[row * K + k] = from[k] * scale * weight[k];
  }
}

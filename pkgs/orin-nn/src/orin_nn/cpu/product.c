// y (T, M) = x (T, K) times the transpose of a matrix (N, K), with a residual or gated.
//
// Before it stands vectors.h, and defined are T, N, K, THREADS, one of F16, Q8_0, Q6_K, Q4_K
// (formats.py says how they lie), and RESIDUAL and GATED where they hold.

// The values of a matrix come STEP at a time.
#define STEP 32
typedef VECTOR(float, STEP) Step;
typedef VECTOR(byte, STEP) Bytes;
typedef VECTOR(signed char, STEP) Signed;

// Of each format: its planes; what BLOCK values share, computed once; and STEP values of a block.
#if defined(F16)

#define BLOCK STEP
#define PLANES const __fp16 *values
#define MATRIX {values}
typedef struct { PLANES; } Matrix;
typedef struct {} Shared;

INLINE Shared shared(Matrix m, long row, long block) { return (Shared){}; }

INLINE Step expand(Matrix m, long row, long block, int step, Shared s) {
  typedef VECTOR(__fp16, STEP) Halves;
  return __builtin_convertvector(*(Halves *)(m.values + row * K + block * STEP), Step);
}

#elif defined(Q8_0)

#define BLOCK 32
#define PLANES const signed char *values, const __fp16 *scales
#define MATRIX {values, scales}
typedef struct { const signed char *values; const __fp16 *scales; } Matrix;
typedef float Shared;

INLINE Shared shared(Matrix m, long row, long block) { return m.scales[row * (K / BLOCK) + block]; }

INLINE Step expand(Matrix m, long row, long block, int step, Shared scale) {
  Signed values = *(Signed *)(m.values + row * K + block * BLOCK);
  return __builtin_convertvector(values, Step) * scale;
}

#elif defined(Q6_K)

#define BLOCK 128 // half of one: two share a scale
#define PLANES const byte *low, const byte *high, const signed char *scales, const __fp16 *scale
#define MATRIX {low, high, scales, scale}
typedef struct {
  const byte *low, *high;
  const signed char *scales;
  const __fp16 *scale;
} Matrix;
typedef Eight Shared;

INLINE Shared shared(Matrix m, long row, long block) {
  typedef VECTOR(signed char, 8) Eight8;
  long index = row * (K / BLOCK) + block;
  return __builtin_convertvector(*(Eight8 *)(m.scales + index * 8), Eight) * m.scale[index / 2];
}

INLINE Step expand(Matrix m, long row, long block, int step, Shared scales) {
  long index = row * (K / BLOCK) + block;
  Bytes low = *(Bytes *)(m.low + index * 64 + step % 2 * 32);
  Bytes high = *(Bytes *)(m.high + index * 32);
  Bytes bits = (low >> step / 2 * 4 & 15) | (high >> step * 2 & 3) << 4;
  Step values = __builtin_convertvector((Signed)bits - 32, Step);
  values.lo *= scales[step * 2];
  values.hi *= scales[step * 2 + 1];
  return values;
}

#elif defined(Q4_K)

#define BLOCK 256
#define PLANES const byte *values, const byte *small, const __fp16 *both
#define MATRIX {values, small, both}
typedef struct { const byte *values, *small; const __fp16 *both; } Matrix;
typedef struct { Eight scale, least; } Shared;

INLINE Shared shared(Matrix m, long row, long block) {
  typedef VECTOR(byte, 4) Bytes4;
  typedef VECTOR(byte, 8) Bytes8;
  long index = row * (K / BLOCK) + block;
  Bytes4 *fields = (Bytes4 *)(m.small + index * 12);
  Bytes4 a = fields[0], b = fields[1], c = fields[2];
  Bytes8 scale, least;
  scale.lo = a & 63, scale.hi = (c & 15) | a >> 6 << 4;
  least.lo = b & 63, least.hi = c >> 4 | b >> 6 << 4;
  return (Shared){
    __builtin_convertvector(scale, Eight) * m.both[index * 2],
    __builtin_convertvector(least, Eight) * m.both[index * 2 + 1],
  };
}

INLINE Step expand(Matrix m, long row, long block, int step, Shared s) {
  long index = row * (K / BLOCK) + block;
  Bytes bits = *(Bytes *)(m.values + index * 128 + step / 2 * 32) >> step % 2 * 4 & 15;
  return __builtin_convertvector(bits, Step) * s.scale[step] - s.least[step];
}

#endif

#ifdef GATED
#define M (N / 2)
#else
#define M N
#endif
// The last values of a row that fill no block: of float16 alone.
#define WHOLE (K / BLOCK * BLOCK)

// Write results of the vector t, from the n-th on, given a row's products `sums`, and, gated, those
// of the lower half's row.
INLINE void finish(float *restrict y, const float *restrict residual, const float *restrict sums,
                   const float *restrict lower, long t, long n, int count) {
  for (int i = 0; i < count; i++) {
#ifdef GATED
    float result = sums[i] / (1 + power(-sums[i])) * lower[i];
#else
    float result = sums[i];
#endif
#ifdef RESIDUAL
    result += residual[t * M + n + i];
#endif
    y[t * M + n + i] = result;
  }
}

// What the values beyond the blocks add to the product of a row and a vector.
INLINE float rest(Matrix m, long row, const float *x) {
  float sum = 0;
#ifdef F16
  for (long k = WHOLE; k < K; k++) sum += m.values[row * K + k] * x[k];
#endif
  return sum;
}

#if T <= 8

// Few vectors: every value is expanded once, into registers. One row at a time goes straight
// through the memory, which is fastest while that is the limit; with more vectors, ROWS of them
// share what they multiply.
#if T <= 2
#define ROWS 1
#define CHAINS (STEP / LANES)
#else
#define ROWS (SUMS / T < 4 ? SUMS / T : 4)
#define CHAINS 1
#endif

// The products of ROWS rows from `row` on, of which there are `count`, with every vector.
INLINE void few_products(Matrix m, long row, int count, const float *restrict x,
                         float products[T][ROWS]) {
  // Sums that wait for each other would be too few to keep the processor busy: T CHAINS a row.
  Lanes sums[ROWS][T][CHAINS];
  UNROLLED for (int r = 0; r < ROWS; r++)
    UNROLLED for (int t = 0; t < T; t++)
      UNROLLED for (int i = 0; i < CHAINS; i++) sums[r][t][i] = 0;
  long rows[ROWS];
  UNROLLED for (int r = 0; r < ROWS; r++) rows[r] = row + (r < count ? r : 0);
  for (long block = 0; block < K / BLOCK; block++) {
    Shared s[ROWS];
    UNROLLED for (int r = 0; r < ROWS; r++) s[r] = shared(m, rows[r], block);
    UNROLLED for (int step = 0; step < BLOCK / STEP; step++) {
      const float *at = x + block * BLOCK + step * STEP;
      UNROLLED for (int r = 0; r < ROWS; r++) {
        union { Step step; Lanes lanes[STEP / LANES]; } w = {expand(m, rows[r], block, step, s[r])};
        UNROLLED for (int i = 0; i < STEP / LANES; i++)
          UNROLLED for (int t = 0; t < T; t++)
            sums[r][t][i % CHAINS] += w.lanes[i] * lanes(at + t * (long)K + i * LANES);
      }
    }
  }
  UNROLLED for (int r = 0; r < ROWS; r++)
    UNROLLED for (int t = 0; t < T; t++) {
      UNROLLED for (int i = 1; i < CHAINS; i++) sums[r][t][0] += sums[r][t][i];
      products[t][r] = total(sums[r][t][0]) + rest(m, rows[r], x + t * (long)K);
    }
}

INLINE void share(float *restrict y, const float *restrict x, Matrix m,
                  const float *restrict residual, long from, long to) {
  float products[T][ROWS], lower[T][ROWS];
  for (long n = from; n < to; n += ROWS) {
    int count = to - n < ROWS ? to - n : ROWS;
    few_products(m, n, count, x, products);
#ifdef GATED
    few_products(m, M + n, count, x, lower);
#endif
    for (int t = 0; t < T; t++) finish(y, residual, products[t], lower[t], t, n, count);
  }
}

#else

// A panel of ROWS rows, DEPTH values of each, is expanded into the cache, where every vector finds
// it.
#define ROWS 32
#define DEPTH 512
// Of a tile, whose sums stay in registers: rows, and at most so many vectors, as even as it goes.
#define ACROSS 4
#define MOST (SUMS / ACROSS)
#define DOWN ((T + (T + MOST - 1) / MOST - 1) / ((T + MOST - 1) / MOST))
// Vectors that stay in the second-level cache.
#define BATCH (128 / DOWN * DOWN)

typedef float Panel[ROWS][DEPTH];
typedef float Sums[BATCH][ROWS];

INLINE void tile(Sums sums, const Panel panel, const float *restrict x, int t, int r, int down,
                 int depth) {
  Lanes tile[ACROSS][DOWN];
  UNROLLED for (int i = 0; i < ACROSS; i++) UNROLLED for (int j = 0; j < down; j++) tile[i][j] = 0;
  for (int k = 0; k < depth; k += LANES) {
    Lanes w[ACROSS];
    UNROLLED for (int i = 0; i < ACROSS; i++) w[i] = lanes(&panel[r + i][k]);
    UNROLLED for (int j = 0; j < down; j++) {
      Lanes v = lanes(x + (t + j) * (long)K + k);
      UNROLLED for (int i = 0; i < ACROSS; i++) tile[i][j] += w[i] * v;
    }
  }
  UNROLLED for (int j = 0; j < down; j++)
    UNROLLED for (int i = 0; i < ACROSS; i++) sums[t + j][r + i] += total(tile[i][j]);
}

// The products of `count` rows from `row` on with `batch` vectors.
INLINE void panel_products(Matrix m, long row, int count, const float *restrict x, int batch,
                           Sums sums) {
  __attribute__((aligned(64))) Panel panel;
  for (int t = 0; t < batch; t++)
    for (int r = 0; r < ROWS; r++) sums[t][r] = r < count ? rest(m, row + r, x + t * (long)K) : 0;
  for (long k = 0; k < WHOLE; k += DEPTH) {
    int depth = WHOLE - k < DEPTH ? WHOLE - k : DEPTH;
    for (int r = 0; r < count; r++)
      for (int block = 0; block < depth / BLOCK; block++) {
        Shared s = shared(m, row + r, k / BLOCK + block);
        UNROLLED for (int step = 0; step < BLOCK / STEP; step++)
          *(Step *)&panel[r][block * BLOCK + step * STEP] =
              expand(m, row + r, k / BLOCK + block, step, s);
      }
    int t = 0;
    for (; t + DOWN <= batch; t += DOWN)
      for (int r = 0; r < count; r += ACROSS) tile(sums, panel, x + k, t, r, DOWN, depth);
    if (T % DOWN && t < batch)
      for (int r = 0; r < count; r += ACROSS) tile(sums, panel, x + k, t, r, T % DOWN, depth);
  }
}

INLINE void share(float *restrict y, const float *restrict x, Matrix m,
                  const float *restrict residual, long from, long to) {
  __attribute__((aligned(64))) Sums sums, lower;
  for (long first = 0; first < T; first += BATCH) {
    int batch = T - first < BATCH ? T - first : BATCH;
    for (long n = from; n < to; n += ROWS) {
      int count = to - n < ROWS ? to - n : ROWS;
      panel_products(m, n, count, x + first * K, batch, sums);
#ifdef GATED
      panel_products(m, M + n, count, x + first * K, batch, lower);
#endif
      for (int t = 0; t < batch; t++)
        finish(y, residual, sums[t], lower[t], first + t, n, count);
    }
  }
}

#endif

void product(float *restrict y, const float *restrict x, PLANES,
#ifdef RESIDUAL
             const float *restrict residual,
#endif
             int core) {
#ifndef RESIDUAL
  const float *residual = 0;
#endif
  long groups = (M + ROWS - 1) / ROWS;
  long from = groups * core / THREADS * ROWS, to = groups * (core + 1) / THREADS * ROWS;
  share(y, x, (Matrix)MATRIX, residual, from, to < M ? to : M);
}

/* Instructions that kernels name in inline assembly, as functions: their operands are those of the text, in its order.
 *
 * Where elements of a matrix are among the lanes of a warp is as NVIDIA's manual of PTX draws it. Copies are done when a
 * thread waits for them, and not before. Part of emulated.h.
 */
struct uint4 {
  uint32_t x, y, z, w;
};
static inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
static inline float __uint_as_float(uint32_t x) {
  float y;
  memcpy(&y, &x, 4);
  return y;
}

namespace emulated {

/* Memory that a block shares has addresses of 32 bits. */
static char shared_origin __attribute__((aligned(1024)));
static uint32_t shared_lines[1 << 11]; /* of 128 bytes, by what descriptors have of their addresses: the whole address */
static inline char *in_shared(uint32_t address, unsigned alignment) {
  char *found = &shared_origin + (int32_t)address;
  if ((uintptr_t)found % alignment) fail("an address in shared memory is not aligned");
  return found;
}

static inline void cvt_f32_f16(float &y, uint16_t x) {
  _Float16 half;
  memcpy(&half, &x, 2);
  y = (float)half;
}
static inline void cvt_rn_f16_f32(uint16_t &y, float x) {
  const _Float16 half = (_Float16)x;
  memcpy(&y, &half, 2);
}
static inline void cvt_rn_bf16_f32(uint16_t &y, float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  y = x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
static inline void cvt_rna_tf32_f32(uint32_t &y, float x) {
  memcpy(&y, &x, 4);
  if ((y & 0x7f800000) != 0x7f800000) y += 0x1000;
  y &= ~0x1fffu;
}

static inline void cvt_rn_f16x2_f32(uint32_t &y, float high, float low) {
  uint16_t halves[2];
  cvt_rn_f16_f32(halves[0], low);
  cvt_rn_f16_f32(halves[1], high);
  memcpy(&y, halves, 4);
}
static inline void cvt_rn_bf16x2_f32(uint32_t &y, float high, float low) {
  uint16_t halves[2];
  cvt_rn_bf16_f32(halves[0], low);
  cvt_rn_bf16_f32(halves[1], high);
  memcpy(&y, halves, 4);
}
/* Grids run one after the other. */
static inline void griddepcontrol_launch_dependents() {}
static inline void griddepcontrol_wait() {}

static inline void ex2_approx_f32(float &y, float x) { y = exp2f(x); }

/* What another lane gives. */
struct shuffle {
  float *y, x;
  int lane;
  static void execute(void **lanes) {
    for (int lane = 0; lane < 32; ++lane) {
      const shuffle *own = (shuffle *)lanes[lane];
      *own->y = ((shuffle *)lanes[own->lane])->x;
    }
  }
};
static inline void shfl_sync_idx_b32(float &y, float x, int lane, int last, int) {
  if (last != 31 || lane < 0 || lane > last) fail("a lane is asked for that no warp has");
  shuffle given{&y, x, lane};
  together(shuffle::execute, &given);
}

static inline void copy_later(uint32_t to, const void *from, int bytes, int size) {
  if (bytes && (uintptr_t)from % size) fail("an asynchronous copy comes from an address that is not aligned");
  running->copies.back().push_back({in_shared(to, size), from, bytes, size});
}
static inline void cp_async_cg_shared_global(uint32_t to, const void *from, int bytes, int size) {
  if (size != 16) fail("copies past L1 are of 16 bytes");
  copy_later(to, from, bytes, size);
}
static inline void cp_async_ca_shared_global(uint32_t to, const void *from, int bytes, int size) {
  copy_later(to, from, bytes, size);
}
static inline void cp_async_commit_group() { running->copies.emplace_back(); }
static inline void cp_async_wait_group(unsigned most) {
  auto &groups = running->copies;
  while (groups.size() - 1 > most) {
    for (const copy &each : groups.front()) {
      memset(each.to, 0, each.size);
      memcpy(each.to, each.from, each.bytes);
    }
    groups.erase(groups.begin());
  }
}

/* Lanes 8 m to 8 m + 7 have the addresses of the rows of matrix m; lane 4 r + c gets word c of row r of each. Where it is
 * transposed, these are elements r of rows 2 c and 2 c + 1.
 */
template <int COUNT, bool TRANSPOSED = false>
struct matrices {
  uint32_t *registers[COUNT];
  uint32_t row;
  static void execute(void **lanes) {
    for (int matrix = 0; matrix < COUNT; ++matrix)
      for (int lane = 0; lane < 32; ++lane) {
        auto row = [&](int number) { return in_shared(((matrices *)lanes[8 * matrix + number])->row, 16); };
        char *word = (char *)((matrices *)lanes[lane])->registers[matrix];
        if (!TRANSPOSED) memcpy(word, row(lane / 4) + lane % 4 * 4, 4);
        for (int half = 0; TRANSPOSED && half < 2; ++half)
          memcpy(word + 2 * half, row(lane % 4 * 2 + half) + lane / 4 * 2, 2);
      }
  }
};
static inline void ldmatrix_sync_aligned_m8n8_x2_shared_b16(uint32_t &a, uint32_t &b, uint32_t row) {
  matrices<2> given{{&a, &b}, row};
  together(matrices<2>::execute, &given);
}
static inline void ldmatrix_sync_aligned_m8n8_x4_shared_b16(uint32_t &a, uint32_t &b, uint32_t &c, uint32_t &d,
                                                            uint32_t row) {
  matrices<4> given{{&a, &b, &c, &d}, row};
  together(matrices<4>::execute, &given);
}
static inline void ldmatrix_sync_aligned_m8n8_x2_trans_shared_b16(uint32_t &a, uint32_t &b, uint32_t row) {
  matrices<2, true> given{{&a, &b}, row};
  together(matrices<2, true>::execute, &given);
}
static inline void ldmatrix_sync_aligned_m8n8_x4_trans_shared_b16(uint32_t &a, uint32_t &b, uint32_t &c, uint32_t &d,
                                                                  uint32_t row) {
  matrices<4, true> given{{&a, &b, &c, &d}, row};
  together(matrices<4, true>::execute, &given);
}

struct of_half {
  uint16_t bits;
  operator double() const {
    float y;
    cvt_f32_f16(y, bits);
    return y;
  }
};
struct of_bfloat16 {
  uint16_t bits;
  operator double() const { return __uint_as_float((uint32_t)bits << 16); }
};
struct of_tf32 {
  uint32_t bits;
  operator double() const { return __uint_as_float(bits & ~0x1fffu); }
};

/* ROWS x 8 sums of type S, in DEPTH bytes of elements of type T, which are computed with as W. */
template <class T, class S, class W, int ROWS, int DEPTH>
struct product {
  static constexpr int REGISTERS = ROWS / 8, CHUNKS = DEPTH / 16;
  S *d[2 * REGISTERS];
  uint32_t a[REGISTERS * CHUNKS], b[CHUNKS];
  S c[2 * REGISTERS];

  static T element(const uint32_t *registers, int byte) {
    T found;
    memcpy(&found, (const char *)registers + byte % 4, sizeof found);
    return found;
  }
  static void execute(void **lanes) {
    auto of = [&](int lane) { return (product *)lanes[lane]; };
    for (int row = 0; row < ROWS; ++row)
      for (int column = 0; column < 8; ++column) {
        const int own = row % 8 * 4 + column / 2, place = row / 8 * 2 + column % 2;
        W sum = of(own)->c[place];
        for (int byte = 0; byte < DEPTH; byte += sizeof(T)) {
          const int lane = byte % 16 / 4, chunk = byte / 16;
          const T left = element(&of(row % 8 * 4 + lane)->a[row / 8 + REGISTERS * chunk], byte);
          const T right = element(&of(column * 4 + lane)->b[chunk], byte);
          sum += (W)left * (W)right;
        }
        *of(own)->d[place] = (S)sum;
      }
  }
  void run() { together(execute, this); }
};

#define PRODUCT_OF_16(name, T, S, W)                                                                                   \
  static inline void name(S &d0, S &d1, S &d2, S &d3, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, \
                          uint32_t b1, S c0, S c1, S c2, S c3) {                                                       \
    product<T, S, W, 16, 32>{{&d0, &d1, &d2, &d3}, {a0, a1, a2, a3}, {b0, b1}, {c0, c1, c2, c3}}.run();               \
  }
PRODUCT_OF_16(mma_sync_aligned_m16n8k16_row_col_f32_f16_f16_f32, of_half, float, double)
PRODUCT_OF_16(mma_sync_aligned_m16n8k16_row_col_f32_bf16_bf16_f32, of_bfloat16, float, double)
PRODUCT_OF_16(mma_sync_aligned_m16n8k8_row_col_f32_tf32_tf32_f32, of_tf32, float, double)
PRODUCT_OF_16(mma_sync_aligned_m16n8k32_row_col_s32_s8_s8_s32, int8_t, int32_t, int32_t)

static inline void mma_sync_aligned_m16n8k8_row_col_f32_f16_f16_f32(float &d0, float &d1, float &d2, float &d3,
                                                                    uint32_t a0, uint32_t a1, uint32_t b0, float c0,
                                                                    float c1, float c2, float c3) {
  product<of_half, float, double, 16, 16>{{&d0, &d1, &d2, &d3}, {a0, a1}, {b0}, {c0, c1, c2, c3}}.run();
}
static inline void mma_sync_aligned_m8n8k16_row_col_s32_s8_s8_s32(int32_t &d0, int32_t &d1, uint32_t a0, uint32_t b0,
                                                                  int32_t c0, int32_t c1) {
  product<int8_t, int32_t, int32_t, 8, 16>{{&d0, &d1}, {a0}, {b0}, {c0, c1}}.run();
}

}  // namespace emulated

static inline uint32_t __cvta_generic_to_shared(const void *address) {
  const uint32_t found = (uint32_t)((const char *)address - &emulated::shared_origin);
  emulated::shared_lines[(found & 0x3ffff) / 128] = found & ~127u;
  return found;
}

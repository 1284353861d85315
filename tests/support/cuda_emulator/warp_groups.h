/* What the H100 has beside: tiles of tensors that are copied by an engine, barriers that count their bytes, and products
 * of four warps. Part of emulated.h.
 *
 * Tiles come when they are waited for, or at once where threads run backwards; products are made when they are waited for.
 * So what reads too early, or writes what is still read, is wrong in one of both orders.
 */
struct tensor_map;

namespace emulated {

static inline void fence_proxy_async_shared__cta() {}
static inline void fence_mbarrier_init_release_cluster() {}
static inline void selp_b32(uint32_t &to, bool chosen, uint32_t yes, uint32_t no) { to = chosen ? yes : no; }

/* As the emulated driver writes it. */
struct mapped {
  char *address;
  uint32_t rank, element;
  uint64_t strides[5];
  uint32_t extents[5], box[5];
};
struct tile {
  mapped from;
  int place[5];
  uint32_t to;

  /* Lines of 128 bytes, zeros beyond the tensor; units of 16 bytes of a line are exchanged by its number. */
  int64_t copy() const {
    char *lines = in_shared(to, 1024);
    int64_t count = 1;
    for (unsigned axis = 1; axis < from.rank; ++axis) count *= from.box[axis];
    for (int64_t line = 0; line < count; ++line) {
      const char *source = from.address;
      bool there = true;
      int64_t rest = line;
      for (unsigned axis = 1; axis < from.rank; ++axis) {
        const int64_t at = place[axis] + rest % from.box[axis];
        rest /= from.box[axis];
        there = there && at >= 0 && at < from.extents[axis];
        source += at * (int64_t)from.strides[axis];
      }
      for (unsigned number = 0; number < from.box[0]; ++number) {
        const int64_t at = place[0] + (int64_t)number, byte = number * from.element;
        char *to = lines + line * 128 + (byte / 16 ^ line % 8) * 16 + byte % 16;
        if (there && at >= 0 && at < from.extents[0])
          memcpy(to, source + at * from.element, from.element);
        else
          memset(to, 0, from.element);
      }
    }
    return count * from.box[0] * from.element;
  }
};

struct tile_barrier {
  int expected, missing;
  int64_t bytes;
  uint32_t phase;
  std::vector<tile> tiles;

  void settle() {
    if (missing < 0) fail("more threads arrive at a barrier than it was made for");
    if (missing || bytes || !tiles.empty()) return;
    phase ^= 1;
    missing = expected;
  }
  void bring() {
    for (const tile &each : tiles) bytes -= each.copy();
    if (bytes < 0) fail("more bytes come to a barrier than it was told of");
    tiles.clear();
    settle();
  }
};
static std::map<uint32_t, tile_barrier> tile_barriers;
static tile_barrier &barrier_at(uint32_t address) {
  in_shared(address, 8);
  const auto found = tile_barriers.find(address);
  if (found == tile_barriers.end()) fail("a barrier is used that was not begun");
  return found->second;
}
static inline void mbarrier_init_shared__cta_b64(uint32_t address, int count) {
  in_shared(address, 8);
  tile_barriers[address] = {count, count, 0, 0, {}};
}
static inline void mbarrier_arrive_expect_tx_shared__cta_b64(uint32_t address, int bytes) {
  tile_barrier &each = barrier_at(address);
  each.bytes += bytes;
  --each.missing;
  if (each.missing < 0) fail("a barrier is told of bytes twice in a phase");
}
static inline void mbarrier_try_wait_parity_shared__cta_b64(bool &done, uint32_t address, uint32_t parity) {
  enum { PATIENCE = 1 << 24 };
  static unsigned polls;
  tile_barrier &each = barrier_at(address);
  if (!each.tiles.empty()) each.bring();
  done = each.phase != parity;
  polls = done ? 0 : polls + 1;
  if (polls > PATIENCE) fail("threads wait for tiles that nobody asked for");
  if (!done) wait(RUNS);
}

template <class... Place>
static void copy_tile(uint32_t to, const tensor_map *map, uint32_t barrier, Place... places) {
  tile made{{}, {places...}, to};
  memcpy(&made.from, map, sizeof made.from);
  if (made.from.rank != sizeof...(places)) fail("a tile is copied of a tensor of another rank");
  tile_barrier &each = barrier_at(barrier);
  each.tiles.push_back(made);
  if (backwards) each.bring();
}
static inline void cp_async_bulk_tensor_2d_shared__cluster_global_tile_mbarrier__complete_tx__bytes(
    uint32_t to, const tensor_map *map, int x, int y, uint32_t barrier) {
  copy_tile(to, map, barrier, x, y);
}
static inline void cp_async_bulk_tensor_3d_shared__cluster_global_tile_mbarrier__complete_tx__bytes(
    uint32_t to, const tensor_map *map, int x, int y, int z, uint32_t barrier) {
  copy_tile(to, map, barrier, x, y, z);
}

/* Where a descriptor says that eight lines of an operand begin, and 32 bytes of them. */
struct described {
  const char *lines;
  unsigned first;

  explicit described(uint64_t descriptor) {
    const uint32_t low = (descriptor & 0x3fff) << 4;
    if (descriptor >> 62 != 1 || (descriptor >> 32 & 0x3fff) != 64) fail("an operand lies as no instruction reads it");
    lines = in_shared(shared_lines[low / 128], 1024);
    first = low % 128;
  }
  template <class T>
  T at(unsigned line, unsigned byte) const {
    T found;
    const unsigned inside = first + byte;
    memcpy(&found, lines + line * 128 + (inside / 16 ^ line % 8) * 16 + inside % 16, sizeof found);
    return found;
  }
};

/* What a lane has of a product of 64 rows: of warp w rows 16 w + lane / 4 and 8 more, of each 8 columns two. */
struct lanes_product {
  void (*run)(const lanes_product &);
  described a, b;
  unsigned lane;
  std::vector<void *> sums;
};
template <class T, class S, class W>
static void multiply(const lanes_product &given) {
  enum { TERMS = 32 / sizeof(T) };
  const unsigned row = given.lane / 32 * 16 + given.lane % 32 / 4;
  for (unsigned at = 0; at < given.sums.size(); ++at) {
    const unsigned column = at / 4 * 8 + given.lane % 4 * 2 + at % 2;
    S &sum = *(S *)given.sums[at];
    W wide = sum;
    for (unsigned term = 0; term < TERMS; ++term)
      wide += (W)given.a.at<T>(row + at / 2 % 2 * 8, term * sizeof(T)) * (W)given.b.at<T>(column, term * sizeof(T));
    sum = (S)wide;
  }
}

struct products {
  std::vector<lanes_product> open;
  std::vector<std::vector<lanes_product>> groups;
  bool begun = false;
  unsigned count = 0;
};
static std::map<unsigned, products> products_of; /* by the number of a thread in its block */
static std::map<std::pair<unsigned, unsigned>, std::pair<uint64_t, uint64_t>> descriptors; /* by group, and instruction */

static void forget_tiles_and_products() {
  for (auto &each : tile_barriers)
    if (!each.second.tiles.empty()) fail("a block ends before its tiles have come");
  for (auto &each : products_of)
    if (!each.second.groups.empty() || !each.second.open.empty()) fail("a thread ends before its products are made");
  tile_barriers.clear();
  products_of.clear();
  descriptors.clear();
}

static inline void wgmma_fence_sync_aligned() { products_of[running->number].begun = true; }
static inline void wgmma_commit_group_sync_aligned() {
  products &own = products_of[running->number];
  own.groups.push_back(std::move(own.open));
  own.open.clear();
}
static inline void wgmma_wait_group_sync_aligned(unsigned most) {
  products &own = products_of[running->number];
  while (own.groups.size() > most) {
    for (const lanes_product &each : own.groups.front()) each.run(each);
    own.groups.erase(own.groups.begin());
  }
}

template <class T, class S, class W>
static void group_product(std::vector<void *> sums, uint64_t a, uint64_t b) {
  products &own = products_of[running->number];
  if (!own.begun) fail("products begin before registers are ready");
  const auto same = descriptors.emplace(std::make_pair(running->number / 128, own.count++), std::make_pair(a, b));
  if (same.first->second != std::make_pair(a, b)) fail("warps that multiply together have other operands");
  own.open.push_back({multiply<T, S, W>, described(a), described(b), running->number % 128, std::move(sums)});
}

/* The operands of an instruction: sums, two descriptors, and numbers. */
template <class T, class S, class W, size_t SUMS, class Given, size_t... AT>
static void group_product(Given given, std::index_sequence<AT...>) {
  group_product<T, S, W>({(void *)&std::get<AT>(given)...}, std::get<SUMS>(given), std::get<SUMS + 1>(given));
}
#define GROUP_PRODUCT(columns, name, T, S, W, NUMBERS)                                               \
  template <class... Given>                                                                          \
  static void wgmma_mma_async_sync_aligned_m64n##columns##name(Given &&...given) {                   \
    static_assert(sizeof...(given) == columns / 2 + 2 + NUMBERS, "operands of the instruction");    \
    group_product<T, S, W, columns / 2>(std::forward_as_tuple(given...), std::make_index_sequence<columns / 2>()); \
  }
#define GROUP_PRODUCTS(columns)                                                 \
  GROUP_PRODUCT(columns, k16_f32_f16_f16, of_half, float, double, 5)            \
  GROUP_PRODUCT(columns, k16_f32_bf16_bf16, of_bfloat16, float, double, 5)      \
  GROUP_PRODUCT(columns, k32_s32_s8_s8, int8_t, int32_t, int32_t, 1)
GROUP_PRODUCTS(16)
GROUP_PRODUCTS(32)
GROUP_PRODUCTS(64)
GROUP_PRODUCTS(128)
GROUP_PRODUCTS(256)

}  // namespace emulated

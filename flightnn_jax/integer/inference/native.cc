// A convolution of the integer network with all that follows it, for XLA on a CPU.
//
// docs/integers.md says what is computed. integer/inference/native.py packs the arguments.
//
// Activations are read as bytes a + 128, zeros outside of the image as 128, so the product of
// unsigned bytes with signed ones that AVX-512 VNNI has gives each sum plus 128 times the sum of
// the filter's weights, wherever the window lies; a sum starts with the negative of that. All is
// modulo 2^32: the certificate proves that what is left in the end fits.
//
// Of the window, each row is a run of bytes, for channels stand beside each other: "steps" of four
// bytes that meet four weights of 16 filters, a "block". A tile is two rows of four pixels times a
// pair of blocks, or a last single one. 128 is a frequent weight and no int8, but -128 is: there
// is a second copy of the image in bytes 127 - a, and in each pair any step may read that one, with
// weights of the other sign. What still does not fit int8 are the weights of a further step.

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "xla/ffi/api/ffi.h"
#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace ffi = xla::ffi;

namespace {

constexpr int kLanes = 16;          // filters of a block
constexpr int kStep = 4;            // bytes of the window that one instruction takes
constexpr int kColumns = 4;         // pixels of a tile, in each of its two rows
constexpr int kNumbers = 7;         // rows of `numbers`
constexpr int kSlack = 64;          // bytes behind the image, for a last step that is read in full
constexpr int kAhead = 4096;        // bytes of weights that are fetched ahead
constexpr int64_t kWork = 1 << 20;  // multiplications that are worth another thread

typedef int32_t Lanes __attribute__((vector_size(4 * kLanes)));
typedef int32_t Part __attribute__((vector_size(kLanes)));
typedef int8_t Bytes __attribute__((vector_size(kLanes)));

template <typename T>
T Load(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// The first `count` lanes of a vector; the others are zeros, or stay where they are.
template <typename Vector, typename Lane>
Vector LoadFirst(const Lane* from, int64_t count) {
  if (count == kLanes) return Load<Vector>(from);
  Vector value{};
  std::memcpy(&value, from, sizeof(Lane) * count);
  return value;
}

template <typename Vector, typename Lane>
void StoreFirst(Lane* to, Vector value, int64_t count) {
  if (count == kLanes) {
    std::memcpy(to, &value, sizeof value);
  } else {
    const Vector copy = value;  // whose address may be taken while `value` stays in a register
    std::memcpy(to, &copy, sizeof(Lane) * count);
  }
}

// sum + w x for four bytes x and, in each lane, four signed bytes w.
inline Lanes Dot(Lanes sum, const uint8_t* x, Lanes w) {
#ifdef __AVX512VNNI__
  const __m512i bytes = _mm512_set1_epi32(Load<int32_t>(x));
  return (Lanes)_mm512_dpbusd_epi32((__m512i)sum, bytes, (__m512i)w);
#else
  Part sums[4], weights[4];  // of a size for which every processor has vectors
  std::memcpy(sums, &sum, sizeof sums);
  std::memcpy(weights, &w, sizeof weights);
  for (int p = 0; p < 4; ++p) {
    for (int i = 0; i < kStep; ++i) {
      sums[p] += ((weights[p] << (24 - 8 * i)) >> 24) * int32_t{x[i]};
    }
  }
  return Load<Lanes>(sums);
#endif
}

inline Lanes Min(Lanes a, Lanes b) { return a < b ? a : b; }
inline Lanes Max(Lanes a, Lanes b) { return a > b ? a : b; }

// Between int8 and int32; narrowing saturates.
#ifdef __AVX512F__
inline Lanes Widen(Bytes v) { return (Lanes)_mm512_cvtepi8_epi32((__m128i)v); }
inline Bytes Narrow(Lanes v) { return (Bytes)_mm512_cvtsepi32_epi8((__m512i)v); }
#else
inline Lanes Widen(Bytes v) { return __builtin_convertvector(v, Lanes); }
inline Bytes Narrow(Lanes v) {
  return __builtin_convertvector(Min(Max(v, Lanes{} - 128), Lanes{} + 127), Bytes);
}
#endif

// The leaky ReLU, one rounding to the nearest, ties to even, and one saturation.
inline Bytes Activate(Lanes v, Lanes shift, int32_t slope) {
  const Lanes n = shift + ((v >> 31) & slope);
  const Lanes some = (n > 0) & 1;  // nothing is rounded where n = 0
  const Lanes below_half = (((Lanes{} + 1) << n) >> 1) - some;
  return Narrow((v + below_half + ((v >> n) & some)) >> n);
}

struct Job {
  int64_t images, height, width, channels;  // of x
  int64_t size, stride, filters;
  int64_t blocks, pairs;                    // of filters, of blocks
  int64_t out_height, out_width;            // before the pool
  int64_t steps, row_steps;                 // of a window, of one of its rows
  int64_t copies;                           // of the image: 1 where no step reads the second
  int64_t row;                              // bytes of a row of the image with its borders
  int32_t slope;
  bool pool, activates, other_sums;
  const int8_t *x, *weights, *more;         // weights: [blocks, steps, 16, 4], more of them
  const int32_t* order;    // [pairs, steps] i, or steps + i to read the second copy at step i
  const int32_t* which;    // [further steps] the same numbers
  const int32_t* first;    // [blocks + 1] where each block's further steps begin
  const int32_t* numbers;  // [7, 16 blocks] start, low, high, multiplier, bias, shift, lift
  const void* other;       // what is added to v: nothing, sums, or activations to be lifted
  void* out;
  const int64_t* place;    // [2 steps] where each lies, in bytes from the window's first

  int64_t padded() const { return (height + size - 1) * row; }
  Lanes number(int which, int64_t block) const {
    return Load<Lanes>(numbers + (which * blocks + block) * kLanes);
  }
};

// Writes one image's copies; their borders are there already.
void Fill(const Job& job, int64_t image, uint8_t* padded) {
  const int64_t around = job.size / 2, bytes = job.width * job.channels;
  for (int64_t y = 0; y < job.height; ++y) {
    const int8_t* from = job.x + (image * job.height + y) * bytes;
    uint8_t* to = padded + (y + around) * job.row + around * job.channels;
    for (int64_t i = 0; i < bytes; ++i) to[i] = static_cast<uint8_t>(from[i]) ^ 128;
    if (job.copies == 1) continue;
    uint8_t* second = to + job.padded();
    for (int64_t i = 0; i < bytes; ++i) second[i] = static_cast<uint8_t>(from[i]) ^ 127;
  }
}

// Clip, affine map, what is added, and the activation if there is one, of one pixel's block.
struct Finish {
  const Job& job;
  int64_t block;
  Lanes low, high, multiplier, bias, shift, lift;

  Finish(const Job& of, int64_t at)
      : job(of), block(at), low(of.number(1, at)), high(of.number(2, at)),
        multiplier(of.number(3, at)), bias(of.number(4, at)), shift(of.number(5, at)),
        lift(of.number(6, at)) {}

  Lanes Map(Lanes sum) const { return Min(Max(sum, low), high) * multiplier + bias; }

  void Store(Lanes v, int64_t pixel) const {
    const int64_t at = pixel * job.filters + block * kLanes;
    const int64_t count = std::min<int64_t>(kLanes, job.filters - block * kLanes);
    if (job.other != nullptr) v += Other(at, count);
    if (job.activates) {
      StoreFirst(static_cast<int8_t*>(job.out) + at, Activate(v, shift, job.slope), count);
    } else {
      StoreFirst(static_cast<int32_t*>(job.out) + at, v, count);
    }
  }

  Lanes Other(int64_t at, int64_t count) const {
    const auto* sums = static_cast<const int32_t*>(job.other);
    if (job.other_sums) return LoadFirst<Lanes>(sums + at, count);
    return Widen(LoadFirst<Bytes>(static_cast<const int8_t*>(job.other) + at, count)) << lift;
  }
};

// The sums of two rows of pixels and `Blocks` blocks of filters. Not inlined: pointers and sums
// take all registers there are.
template <int Blocks>
using Sums = Lanes[2][kColumns][Blocks];

template <int Blocks>
[[gnu::noinline]] void Sum(const Job& job, const uint8_t* top, int64_t down,
                           const int64_t (&along)[kColumns], int64_t block, Sums<Blocks>& result) {
  Sums<Blocks> sums;
  for (int b = 0; b < Blocks; ++b) {
    for (int q = 0; q < kColumns; ++q) sums[0][q][b] = sums[1][q][b] = job.number(0, block + b);
  }
  const int64_t second = along[1], third = along[2], fourth = along[3];
  const auto step = [&](const uint8_t* at, const uint8_t* under, int b, Lanes w)
      __attribute__((always_inline)) {
    sums[0][0][b] = Dot(sums[0][0][b], at, w);
    sums[0][1][b] = Dot(sums[0][1][b], at + second, w);
    sums[0][2][b] = Dot(sums[0][2][b], at + third, w);
    sums[0][3][b] = Dot(sums[0][3][b], at + fourth, w);
    sums[1][0][b] = Dot(sums[1][0][b], under, w);
    sums[1][1][b] = Dot(sums[1][1][b], under + second, w);
    sums[1][2][b] = Dot(sums[1][2][b], under + third, w);
    sums[1][3][b] = Dot(sums[1][3][b], under + fourth, w);
  };
  constexpr int64_t bytes = kLanes * kStep;
  const int64_t next = job.steps * bytes;
  const int8_t* weights = job.weights + block * next;
  const int32_t* order = job.order + block / 2 * job.steps;
  for (const int32_t* end = order + job.steps; order < end; ++order) {
    __builtin_prefetch(weights + kAhead);
    __builtin_prefetch(weights + next + kAhead);
    const uint8_t* at = top + job.place[*order];
    const uint8_t* under = at + down;
#pragma GCC unroll 2
    for (int b = 0; b < Blocks; ++b) step(at, under, b, Load<Lanes>(weights + b * next));
    weights += bytes;
  }
#pragma GCC unroll 2
  for (int b = 0; b < Blocks; ++b) {
    for (int64_t i = job.first[block + b]; i < job.first[block + b + 1]; ++i) {
      const uint8_t* at = top + job.place[job.which[i]];
      step(at, at + down, b, Load<Lanes>(job.more + i * bytes));
    }
  }
  std::memcpy(result, sums, sizeof sums);
}

// Sums, and what follows, of two rows of pixels from (y, x) on.
template <int Blocks>
void Tile(const Job& job, const uint8_t* padded, int64_t image, int64_t y, int64_t x,
          const Finish (&finish)[Blocks]) {
  const int64_t columns = std::min<int64_t>(kColumns, job.out_width - x);
  const int64_t rows = std::min<int64_t>(2, job.out_height - y);
  const uint8_t* top = padded + y * job.stride * job.row + x * job.stride * job.channels;
  int64_t along[kColumns];  // pixels that are not there repeat the last one
  for (int q = 0; q < kColumns; ++q) {
    along[q] = std::min<int64_t>(q, columns - 1) * job.stride * job.channels;
  }
  Sums<Blocks> sums;
  Sum<Blocks>(job, top, (rows - 1) * job.stride * job.row, along, finish[0].block, sums);
  for (int b = 0; b < Blocks; ++b) {
    const Finish& end = finish[b];
    if (job.pool) {  // of v, which the activation keeps in order; sums may fall where v rises
      const int64_t line = (image * job.out_height + y) / 2 * (job.out_width / 2);
      for (int64_t q = 0; q < columns; q += 2) {
        const Lanes above = Max(end.Map(sums[0][q][b]), end.Map(sums[0][q + 1][b]));
        const Lanes under = Max(end.Map(sums[1][q][b]), end.Map(sums[1][q + 1][b]));
        end.Store(Max(above, under), line + (x + q) / 2);
      }
    } else {
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t line = (image * job.out_height + y + r) * job.out_width;
        for (int64_t q = 0; q < columns; ++q) end.Store(end.Map(sums[r][q][b]), line + x + q);
      }
    }
  }
}

template <int Blocks>
void Panel(const Job& job, const uint8_t* padded, int64_t image, const Finish (&finish)[Blocks]) {
  for (int64_t y = 0; y < job.out_height; y += 2) {
    for (int64_t x = 0; x < job.out_width; x += kColumns) Tile(job, padded, image, y, x, finish);
  }
}

// A pair's weights stay in the cache for all pixels of an image.
void Image(const Job& job, int64_t image, uint8_t* padded) {
  Fill(job, image, padded);
  int64_t block = 0;
  for (; block + 2 <= job.blocks; block += 2) {
    Panel<2>(job, padded, image, {{job, block}, {job, block + 1}});
  }
  if (block < job.blocks) Panel<1>(job, padded, image, {{job, block}});
}

// Images that threads take one by one. Who comes too late finds none and touches no buffer.
struct Queue {
  explicit Queue(const Job& of) : job(of) {}

  void Work() {
    uint8_t* padded = nullptr;
    for (int64_t image; (image = next++) < job.images;) {
      if (padded == nullptr && (padded = Room(job.copies * job.padded() + kSlack)) != nullptr) {
        std::memset(padded, 128, job.padded());
        std::memset(padded + job.padded(), 127, (job.copies - 1) * job.padded());
      }
      if (padded != nullptr) Image(job, image, padded);
      const std::lock_guard<std::mutex> lock(mutex);
      failed |= padded == nullptr;
      if (++done == job.images) all.notify_all();
    }
  }

  // Memory that this thread keeps, or null: fresh memory costs more than the copies of an image.
  static uint8_t* Room(int64_t bytes) {
    thread_local std::unique_ptr<uint8_t[]> room;
    thread_local int64_t size = 0;
    if (size < bytes) {
      room.reset(new (std::nothrow) uint8_t[bytes]());
      size = room ? bytes : 0;
    }
    return room.get();
  }

  const Job job;
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::condition_variable all;
  int64_t done = 0;
  bool failed = false;
};

using Numbers = ffi::Buffer<ffi::S32>;
using Weights = ffi::Buffer<ffi::S8>;

using Shape = ffi::AnyBuffer::Dimensions;

bool Is(Shape shape, Shape wanted) {
  return std::equal(shape.begin(), shape.end(), wanted.begin(), wanted.end());
}

bool Is(Shape shape, std::initializer_list<int64_t> wanted) {
  return Is(shape, Shape(wanted.begin(), wanted.size()));
}

// Whether all of these numbers are from 0 to `most`.
bool Within(const int32_t* from, int64_t count, int64_t most) {
  int32_t low = 0, high = 0;
  for (int64_t i = 0; i < count; ++i) low = std::min(low, from[i]), high = std::max(high, from[i]);
  return low >= 0 && high <= most;
}

// Null if no number of these buffers leads out of them, else the buffer's name.
const char* Problem(const Job& job, Weights weights, Weights more, Numbers order, Numbers which,
                    Numbers first, Numbers numbers, ffi::AnyBuffer other, ffi::AnyBuffer out) {
  const int64_t further = which.element_count(), filled = job.blocks * kLanes;
  if (!Is(weights.dimensions(), {job.blocks, job.steps, kLanes, kStep})) return "weights";
  if (!Is(more.dimensions(), {further, kLanes, kStep})) return "more";
  if (!Is(order.dimensions(), {job.pairs, job.steps})) return "order";
  if (!Is(first.dimensions(), {job.blocks + 1})) return "first";
  if (!Is(numbers.dimensions(), {kNumbers, filled})) return "numbers";
  const int64_t half = job.pool ? 2 : 1, height = job.out_height / half;
  if (job.out_height % half || job.out_width % half) return "pool";
  if (!Is(out.dimensions(), {job.images, height, job.out_width / half, job.filters})) return "out";
  if (!job.activates && (job.pool || out.element_type() != ffi::S32)) return "out";
  if (job.other != nullptr) {
    if (job.pool || (!job.other_sums && other.element_type() != ffi::S8)) return "other";
    if (!Is(other.dimensions(), out.dimensions())) return "other";
  }
  if (!Within(job.order, job.pairs * job.steps, job.copies * job.steps - 1)) return "order";
  if (!Within(job.which, further, job.copies * job.steps - 1)) return "which";
  if (job.first[0] != 0 || job.first[job.blocks] != further) return "first";
  if (!std::is_sorted(job.first, job.first + job.blocks + 1)) return "first";
  if (!Within(job.numbers + 5 * filled, filled, 30 - job.slope)) return "shift";
  return Within(job.numbers + 6 * filled, filled, 24) ? nullptr : "lift";
}

ffi::Error Convolve(ffi::ThreadPool threads, Weights x, Weights weights, Weights more,
                    Numbers order, Numbers which, Numbers first, Numbers numbers,
                    ffi::AnyBuffer other, ffi::Result<ffi::AnyBuffer> out, int64_t size,
                    int64_t stride, int64_t slope, bool pool) {
  const auto shape = x.dimensions();
  const bool ranks = shape.size() == 4 && out->dimensions().size() == 4;
  if (!ranks || size < 1 || size % 2 == 0 || stride < 1 || slope < 0 || slope > 30) {
    return ffi::Error::InvalidArgument("flightnn_jax: size, stride, slope or ranks");
  }
  Job job{};
  job.images = shape[0], job.height = shape[1], job.width = shape[2], job.channels = shape[3];
  job.size = size, job.stride = stride, job.slope = static_cast<int32_t>(slope), job.pool = pool;
  job.filters = out->dimensions()[3], job.blocks = (job.filters + kLanes - 1) / kLanes;
  job.pairs = (job.blocks + 1) / 2;
  job.out_height = (job.height + stride - 1) / stride;
  job.out_width = (job.width + stride - 1) / stride;
  job.row_steps = (size * job.channels + kStep - 1) / kStep, job.steps = size * job.row_steps;
  job.row = (job.width + size - 1) * job.channels;
  job.activates = out->element_type() == ffi::S8;
  job.other_sums = other.element_type() == ffi::S32;
  job.x = x.typed_data(), job.weights = weights.typed_data(), job.more = more.typed_data();
  job.order = order.typed_data(), job.which = which.typed_data(), job.first = first.typed_data();
  job.numbers = numbers.typed_data(), job.out = out->untyped_data();
  job.copies = Within(job.order, order.element_count(), job.steps - 1) ? 1 : 2;
  job.other = other.element_count() > 0 ? other.untyped_data() : nullptr;
  if (const char* what = Problem(job, weights, more, order, which, first, numbers, other, *out)) {
    return ffi::Error::InvalidArgument(std::string("flightnn_jax: wrong argument ") + what);
  }
  std::vector<int64_t> places(2 * job.steps);
  for (int64_t i = 0; i < job.steps; ++i) {
    places[i] = i / job.row_steps * job.row + i % job.row_steps * kStep;
    places[job.steps + i] = places[i] + job.padded();
  }
  job.place = places.data();
  const int64_t work = job.out_height * job.out_width * job.steps * kStep * job.filters;
  const int64_t useful = std::min(job.images, job.images * work / kWork);
  const auto queue = std::make_shared<Queue>(job);
  for (int64_t i = 1; i < std::min<int64_t>(useful, threads.num_threads()); ++i) {
    threads.Schedule([queue] { queue->Work(); });
  }
  queue->Work();
  std::unique_lock<std::mutex> lock(queue->mutex);
  queue->all.wait(lock, [&] { return queue->done == queue->job.images; });
  if (queue->failed) return ffi::Error::Internal("flightnn_jax: no memory for an image");
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    FlightnnConvolve, Convolve,
    ffi::Ffi::Bind()
        .Ctx<ffi::ThreadPool>()
        .Arg<Weights>().Arg<Weights>().Arg<Weights>()  // x, weights, more
        .Arg<Numbers>().Arg<Numbers>()  // order, which
        .Arg<Numbers>().Arg<Numbers>()  // first, numbers
        .Arg<ffi::AnyBuffer>()  // other
        .Ret<ffi::AnyBuffer>()
        .Attr<int64_t>("size").Attr<int64_t>("stride").Attr<int64_t>("slope").Attr<bool>("pool"));

// Stands in for liblz4 where Verilator's FST writer is compiled: a machine with only g++ has no lz4.h.
// Writes valid LZ4 blocks made of one run of literals, so files are larger but any FST reader reads them.
// Format: https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
#pragma once
#include <cstring>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

inline int LZ4_compress_default(const char *source, char *target, int size, int capacity) {
  if (capacity < LZ4_compressBound(size)) return 0;
  unsigned char *out = reinterpret_cast<unsigned char *>(target);
  *out++ = static_cast<unsigned char>((size < 15 ? size : 15) << 4);
  if (size >= 15) {
    int rest = size - 15;
    for (; rest >= 255; rest -= 255) *out++ = 255;
    *out++ = static_cast<unsigned char>(rest);
  }
  std::memcpy(out, source, size);
  return static_cast<int>(out + size - reinterpret_cast<unsigned char *>(target));
}

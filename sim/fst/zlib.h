// Stands in for zlib where Verilator's FST writer is compiled: a machine with only g++ has no zlib.h.
// Writes valid zlib streams of stored blocks (RFC 1950, RFC 1951 section 3.2.4).
#pragma once
#include <cstring>

typedef unsigned char Bytef;
typedef unsigned long uLong;
typedef unsigned long uLongf;
constexpr int Z_OK = 0;
constexpr int Z_BUF_ERROR = -5;

inline uLong compressBound(uLong size) { return size + 5 * (size / 65535 + 1) + 6; }

inline int compress2(Bytef *target, uLongf *target_size, const Bytef *source, uLong size, int) {
  if (*target_size < compressBound(size)) return Z_BUF_ERROR;
  Bytef *out = target;
  *out++ = 0x78;
  *out++ = 0x01;
  uLong at = 0, a = 1, b = 0;
  do {
    const uLong part = size - at < 65535 ? size - at : 65535;
    *out++ = at + part == size;
    *out++ = part & 255;
    *out++ = part >> 8;
    *out++ = ~part & 255;
    *out++ = (~part >> 8) & 255;
    std::memcpy(out, source + at, part);
    out += part;
    for (uLong i = at; i < at + part; ++i) {
      a = (a + source[i]) % 65521;
      b = (b + a) % 65521;
    }
    at += part;
  } while (at < size);
  for (int shift = 8; shift >= 0; shift -= 8) *out++ = (b >> shift) & 255;
  for (int shift = 8; shift >= 0; shift -= 8) *out++ = (a >> shift) & 255;
  *target_size = out - target;
  return Z_OK;
}

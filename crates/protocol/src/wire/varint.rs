//! Varints: seven bits per byte, the lowest first, the top bit set on all but the last. Signed ones are
//! zigzag-coded.

/// The most bytes that a 32-bit varint takes.
pub const MAX_VARINT_LEN: usize = 5;
/// The most bytes that a 64-bit varint takes.
pub const MAX_VARLONG_LEN: usize = 10;

/// Returns the bytes that an unsigned varint takes.
#[inline]
pub const fn size_of_unsigned_varint(value: u32) -> usize {
    // Six bits of a byte are lost to rounding by 7; `| 1` makes zero take one byte.
    ((38 - (value | 1).leading_zeros()) / 7) as usize
}

/// Returns the bytes that a zigzag-coded 32-bit varint takes.
#[inline]
pub const fn size_of_varint(value: i32) -> usize {
    size_of_unsigned_varint(zigzag32(value))
}

/// Returns the bytes that a zigzag-coded 64-bit varint takes.
#[inline]
pub const fn size_of_varlong(value: i64) -> usize {
    ((70 - (zigzag64(value) | 1).leading_zeros()) / 7) as usize
}

#[inline]
pub(crate) const fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)).cast_unsigned()
}

#[inline]
pub(crate) const fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[inline]
pub(crate) const fn unzigzag32(value: u32) -> i32 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[inline]
pub(crate) const fn unzigzag64(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

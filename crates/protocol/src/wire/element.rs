//! The simple values that may stand in an array.

use super::{DecodeError, EncodeError, Reader, Wire, Writer};
use crate::Uuid;

macro_rules! fixed_width {
    ($($type:ty, $method:ident, $size:literal;)*) => {$(
        impl Wire for $type {
            const MIN_SIZE: usize = $size;

            #[inline]
            fn read(r: &mut Reader, _version: i16, _flexible: bool) -> Result<Self, DecodeError> {
                r.$method()
            }

            #[inline]
            fn write(&self, w: &mut Writer, _version: i16, _flexible: bool) -> Result<(), EncodeError> {
                w.$method(*self);
                Ok(())
            }
        }
    )*};
}

fixed_width! {
    i8, i8, 1;
    i16, i16, 2;
    i32, i32, 4;
    i64, i64, 8;
    Uuid, uuid, 16;
}

impl Wire for String {
    const MIN_SIZE: usize = 1;

    fn read(r: &mut Reader, _version: i16, flexible: bool) -> Result<Self, DecodeError> {
        r.string(flexible)
    }

    fn write(&self, w: &mut Writer, _version: i16, flexible: bool) -> Result<(), EncodeError> {
        w.string(self, flexible)
    }
}

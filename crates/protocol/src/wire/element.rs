//! The simple values that may stand in an array.

use super::{Decoder, Encoder, Wire};
use crate::Uuid;

macro_rules! fixed_width {
    ($($type:ty, $method:ident, $size:literal;)*) => {$(
        impl Wire for $type {
            const MIN_SIZE: usize = $size;

            #[inline]
            fn read(r: &mut Decoder<'_>, _version: i16, _flexible: bool) -> Self {
                r.$method()
            }

            #[inline]
            fn write(&self, w: &mut Encoder<'_>, _version: i16, _flexible: bool) {
                w.$method(*self);
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

    fn read(r: &mut Decoder<'_>, _version: i16, flexible: bool) -> Self {
        r.string(flexible)
    }

    fn write(&self, w: &mut Encoder<'_>, _version: i16, flexible: bool) {
        w.string(self, flexible);
    }
}

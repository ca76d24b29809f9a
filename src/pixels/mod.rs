//! Pictures between files, bytes and tensors: value ranges, decoding, encoding, fitting to a size, tables.

mod decode;
mod encode;
mod fit;
mod range;
mod sheet;

pub use decode::{MAX_FILE_BYTES, MAX_PIXELS, decode_rgb, read_rgb};
pub use encode::{png, png16, to_vec};
pub(crate) use fit::paste;
pub use fit::{Placement, Rect, place, planes, resize, resize_part};
pub use range::ValueRange;
pub use sheet::{grid, sheet};

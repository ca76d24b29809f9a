//! Pictures between files, bytes and tensors: value ranges, decoding, encoding, fitting to a size, tables.

mod budget;
mod decode;
mod encode;
mod fit;
mod range;
mod sheet;

pub use budget::{BUDGET, pixels_of_bytes, pixels_of_file};
pub use decode::{MAX_FILE_BYTES, MAX_PIXELS, decode_rgb, read_rgb};
pub use encode::{Format, QUALITY, png, to_vec};
pub(crate) use fit::paste;
pub use fit::{Placement, Rect, larger_planes, place, planes, resize, resize_part};
pub use range::ValueRange;
pub use sheet::{grid, sheet};

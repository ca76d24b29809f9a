//! Pictures between files, bytes and tensors: value ranges, decoding, encoding, fitting to a size, tables.

mod budget;
mod colour;
mod decode;
mod encode;
mod fit;
mod jpeg;
mod limits;
mod numbers;
mod orientation;
mod range;
mod raw;
mod sheet;
mod sniff;
mod tiff;

pub use budget::{BUDGET, pixels_of_bytes, pixels_of_file};
pub use decode::{Fallback, decode_rgb, foreign_rgb, read_rgb, set_fallback};
pub use encode::{Format, QUALITY, png, png16, to_vec};
pub(crate) use fit::paste;
pub use fit::{Placement, Rect, larger_planes, place, planes, resize, resize_part};
pub use limits::{MAX_FILE_BYTES, MAX_PIXELS};
pub use range::ValueRange;
pub use raw::Foreign;
pub use sheet::{grid, sheet, shrunk};

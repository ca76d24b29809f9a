//! True flows: which place in a garment's picture is seen in a pixel of a person who wears it.

use image::{ImageBuffer, Luma};

use super::canvas::Canvas;
use super::frame::{Frame, Part};
use super::garment::Garment;
use super::outlines::{Point, inside};

/// 16-bit grey pixels.
pub type Grey16 = ImageBuffer<Luma<u16>, Vec<u16>>;

/// Computes the true flow of a picture of a person in a garment (see [`super::flow`]).
///
/// Pixel by pixel, the inverse of the person's pose leads to a point of the cloth, and the map of the garment that lies
/// flat from there to the article's picture.
pub fn flow(garment: &Garment, dressed: &Canvas, pose: &Frame) -> Grey16 {
    let size @ [height, width] = dressed.size();
    let [rows, columns] = size.map(|side| side as u32);
    let flat = garment.lying(size);
    let sleeves: Vec<Vec<Point>> = garment.sleeves(&flat).collect();
    let mut flow = Grey16::new(columns, 2 * rows);
    for (row, column, part) in dressed.shown() {
        let point = pose.point_at(part, [column as f32 + 0.5, row as f32 + 0.5]);
        let [x, y] = flat.map(part, point);
        // The sleeves lie on the rest of the garment.
        if part == Part::Body && sleeves.iter().any(|sleeve| inside(sleeve, [x, y])) {
            continue;
        }
        let (column, row) = (column as u32, row as u32);
        flow.put_pixel(column, row, Luma([code(x / width)]));
        flow.put_pixel(column, rows + row, Luma([code(y / height)]));
    }
    flow
}

/// Writes a share of a side as 1 to 65535.
fn code(share: f32) -> u16 {
    1 + (share.clamp(0.0, 1.0) * 65534.0).round() as u16
}

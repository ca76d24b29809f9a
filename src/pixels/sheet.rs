//! Tables of pictures: tensors of one size, or pictures of any size in the cells of a contact sheet.

use image::RgbImage;
use tch::Tensor;

use super::encode::to_vec;
use super::fit::{Placement, Rect, paste, place, resize_part};
use crate::config::Fit;

/// Lays tensors of one size out as a table with white gaps.
///
/// # Shapes
/// `cells`: rows of `[3, H, W]` uint8 tensors; an empty place is `None`. Returns interleaved RGB bytes and their
/// [height, width].
pub fn grid(cells: &[Vec<Option<Tensor>>], gap: usize) -> (Vec<u8>, [usize; 2]) {
    let first = cells.iter().flatten().flatten().next();
    let size = first.expect("a grid has a picture").size();
    let (h, w) = (size[1] as usize, size[2] as usize);
    let columns = cells.iter().map(Vec::len).max().unwrap_or(0);
    let (height, width) = (cells.len() * (h + gap) + gap, columns * (w + gap) + gap);
    let mut pixels = vec![255; height * width * 3];
    for (row, line) in cells.iter().enumerate() {
        for (column, cell) in line.iter().enumerate() {
            let Some(picture) = cell else { continue };
            let bytes = to_vec(&picture.permute([1, 2, 0]));
            for y in 0..h {
                let start = ((gap + row * (h + gap) + y) * width + gap + column * (w + gap)) * 3;
                pixels[start..start + 3 * w].copy_from_slice(&bytes[3 * w * y..3 * w * (y + 1)]);
            }
        }
    }
    (pixels, [height, width])
}

/// Lays pictures of any size out as a table on white, each whole and in the middle of its cell.
///
/// # Shapes
/// `cells`: rows of pictures; an empty place is `None`. `cell`: height and width. Returns interleaved RGB bytes and
/// their [height, width].
pub fn sheet(cells: &[Vec<Option<RgbImage>>], cell: [usize; 2], gap: usize) -> (Vec<u8>, [usize; 2]) {
    let columns = cells.iter().map(Vec::len).max().unwrap_or(0);
    let size = [cells.len() * (cell[0] + gap) + gap, columns * (cell[1] + gap) + gap];
    let mut pixels = vec![255; size[0] * size[1] * 3];
    for (row, line) in cells.iter().enumerate() {
        for (column, picture) in line.iter().enumerate() {
            let Some(picture) = picture else { continue };
            let from = [picture.height() as usize, picture.width() as usize];
            let Placement { source, target } = place(Fit::Pad, from, cell);
            let inner = resize_part(picture.as_raw(), from, source, target.size(), 3);
            let at = Rect {
                top: gap + row * (cell[0] + gap) + target.top,
                left: gap + column * (cell[1] + gap) + target.left,
                ..target
            };
            paste(&inner, &mut pixels, size[1], at, 3);
        }
    }
    (pixels, size)
}

/// Shrinks a picture to what [`sheet`] shows of it in a cell.
pub fn shrunk(picture: &RgbImage, cell: [usize; 2]) -> RgbImage {
    let from = [picture.height() as usize, picture.width() as usize];
    let Placement { source, target } = place(Fit::Pad, from, cell);
    let [height, width] = target.size();
    let pixels = resize_part(picture.as_raw(), from, source, [height, width], 3);
    RgbImage::from_raw(width as u32, height as u32, pixels).expect("it has as many pixels")
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use tch::{Device, Kind};

    #[test]
    fn pictures_lie_in_the_middle_of_their_cells() {
        // 2 x 4 in a cell of 2 x 2 is one row; rounded half down it is the upper one.
        let wide = RgbImage::from_pixel(4, 2, Rgb([9, 9, 9]));
        let whole = RgbImage::from_pixel(2, 2, Rgb([5, 5, 5]));
        let (pixels, size) = sheet(&[vec![None, Some(wide)], vec![Some(whole)]], [2, 2], 1);
        assert_eq!(size, [7, 7]);
        let row = |y: usize| pixels[y * 21..(y + 1) * 21].chunks(3).map(|p| p[0]).collect::<Vec<_>>();
        assert_eq!(row(0), [255; 7]);
        assert_eq!(row(1), [255, 255, 255, 255, 9, 9, 255]);
        assert_eq!(row(2), [255; 7]);
        assert_eq!(row(4), [255, 5, 5, 255, 255, 255, 255]);
        assert_eq!(row(5), row(4));
    }

    #[test]
    fn a_picture_may_be_shrunk_before() {
        for (width, height) in [(301, 97), (64, 200), (5, 3), (1000, 7), (96, 96)] {
            let picture =
                RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7 + y) as u8, (y * 5) as u8, (x ^ y) as u8]));
            let small = shrunk(&picture, [96, 96]);
            assert_eq!(sheet(&[vec![Some(small)]], [96, 96], 4), sheet(&[vec![Some(picture)]], [96, 96], 4));
        }
    }

    #[test]
    fn a_grid_places_its_cells() {
        let cell = |v| Some(Tensor::full([3, 1, 2], v, (Kind::Uint8, Device::Cpu)));
        let (pixels, size) = grid(&[vec![None, cell(5)], vec![cell(6)]], 1);
        assert_eq!(size, [5, 7]);
        let red = |y: usize, x: usize| pixels[(y * 7 + x) * 3];
        assert_eq!([red(1, 1), red(1, 4), red(1, 5), red(1, 6)], [255, 5, 5, 255]);
        assert_eq!([red(3, 1), red(3, 2), red(3, 3), red(3, 4)], [6, 6, 255, 255]);
    }
}

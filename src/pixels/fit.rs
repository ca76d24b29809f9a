//! Fits pictures of any size and aspect to the networks' size.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{InnerPixel, U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use image::{Rgb, RgbImage};

use crate::config::Fit;

/// A part of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// Rows above it.
    pub top: usize,
    /// Columns to its left.
    pub left: usize,
    /// Its rows.
    pub height: usize,
    /// Its columns.
    pub width: usize,
}

impl Rect {
    fn middle([height, width]: [usize; 2], of: [usize; 2]) -> Rect {
        Rect { top: (of[0] - height) / 2, left: (of[1] - width) / 2, height, width }
    }

    /// Returns all of a picture of that height and width.
    pub fn whole([height, width]: [usize; 2]) -> Rect {
        Rect { top: 0, left: 0, height, width }
    }

    /// Returns the rectangle in a picture of that many times the size.
    fn times(self, times: usize) -> Rect {
        let Rect { top, left, height, width } = self;
        Rect { top: top * times, left: left * times, height: height * times, width: width * times }
    }

    /// Returns height and width.
    pub fn size(self) -> [usize; 2] {
        [self.height, self.width]
    }
}

/// The part of a picture that is used, and the part of the place that it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// In the picture. Only [`Fit::Crop`] uses less than all of it.
    pub source: Rect,
    /// In the place. Only [`Fit::Pad`] fills less than all of it.
    pub target: Rect,
}

impl Placement {
    /// Returns how places lead from the filled picture to the whole one, both from -1 to 1 between the outer edges:
    /// scale and shift of x, then of y.
    ///
    /// # Shapes
    /// `whole`, `filled`: height and width of the two pictures.
    ///
    /// ```
    /// use cagan::config::Fit;
    /// use cagan::pixels::place;
    /// // A square loses an eighth of its width at each side: the edge that is left lies at 3/4.
    /// let crop = place(Fit::Crop, [200, 200], [128, 96]);
    /// assert_eq!(crop.places([200, 200], [128, 96]), [[0.75, 0.0], [1.0, 0.0]]);
    /// // Bars above and below take an eighth each: they lie outside the picture.
    /// let pad = place(Fit::Pad, [200, 200], [128, 96]);
    /// assert_eq!(pad.places([200, 200], [128, 96])[1], [128.0 / 96.0, 0.0]);
    /// ```
    pub fn places(self, whole: [usize; 2], filled: [usize; 2]) -> [[f64; 2]; 2] {
        let axis = |source: [usize; 2], target: [usize; 2], i: usize| {
            let scale = (source[1] * filled[i]) as f64 / (target[1] * whole[i]) as f64;
            let middle = |part: [usize; 2], side: usize| (2 * part[0] + part[1]) as f64 / side as f64 - 1.0;
            [scale, middle(source, whole[i]) - scale * middle(target, filled[i])]
        };
        let (source, target) = (self.source, self.target);
        [
            axis([source.left, source.width], [target.left, target.width], 1),
            axis([source.top, source.height], [target.top, target.height], 0),
        ]
    }
}

/// Computes how a picture of the size `from` lies in a place of the size `to`, both [height, width].
///
/// ```
/// use cagan::config::Fit;
/// use cagan::pixels::place;
/// // A square in a place of 3 : 4 loses its sides, or gets bars above and below.
/// let crop = place(Fit::Crop, [200, 200], [128, 96]);
/// assert_eq!((crop.source.left, crop.source.size(), crop.target.size()), (25, [200, 150], [128, 96]));
/// let pad = place(Fit::Pad, [200, 200], [128, 96]);
/// assert_eq!((pad.source.size(), pad.target.top, pad.target.size()), ([200, 200], 16, [96, 96]));
/// ```
pub fn place(fit: Fit, from: [usize; 2], to: [usize; 2]) -> Placement {
    // The middle of `inner` with the aspect of `outer`. Sides are rounded, to at least one pixel.
    let within = |inner: [usize; 2], outer: [usize; 2]| {
        let scale = [0, 1].map(|i| inner[i] as f64 / outer[i] as f64);
        let scale = scale[0].min(scale[1]);
        let side = |i: usize| ((outer[i] as f64 * scale).round() as usize).clamp(1, inner[i]);
        Rect::middle([side(0), side(1)], inner)
    };
    match fit {
        Fit::Stretch => Placement { source: Rect::whole(from), target: Rect::whole(to) },
        Fit::Crop => Placement { source: within(from, to), target: Rect::whole(to) },
        Fit::Pad => Placement { source: Rect::whole(from), target: within(to, from) },
    }
}

/// Fits a picture to `size`, as planes. Bars have the colour of the picture's border.
///
/// # Shapes
/// Returns `3 * height * width` bytes, channel by channel.
pub fn planes(picture: &RgbImage, size: [i64; 2], fit: Fit) -> Vec<u8> {
    larger_planes(picture, size, fit, 1)
}

/// As [`planes`], each side `times` as long: the picture lies in it as it does in `size`, to the pixel. To fit it to the
/// larger size itself would place it by up to `times / 2` pixels elsewhere.
///
/// # Shapes
/// Returns `3 * times * height * times * width` bytes.
pub fn larger_planes(picture: &RgbImage, size: [i64; 2], fit: Fit, times: usize) -> Vec<u8> {
    let to = size.map(|side| side as usize);
    let from = [picture.height() as usize, picture.width() as usize];
    let Placement { source, target } = place(fit, from, to);
    let (to, target) = (to.map(|side| side * times), target.times(times));
    let pixels = resize_part(picture.as_raw(), from, source, target.size(), 3);
    let area = to[0] * to[1];
    let mut planes = vec![0; 3 * area];
    if target.size() != to {
        let background = border_colour(picture);
        for (plane, value) in planes.chunks_exact_mut(area).zip(background.0) {
            plane.fill(value);
        }
    }
    let (red, rest) = planes.split_at_mut(area);
    let (green, blue) = rest.split_at_mut(area);
    for (y, row) in pixels.chunks_exact(3 * target.width).enumerate() {
        let start = (target.top + y) * to[1] + target.left;
        let place = start..start + target.width;
        let rgb = (red[place.clone()].iter_mut()).zip(&mut green[place.clone()]).zip(&mut blue[place]);
        for (((r, g), b), pixel) in rgb.zip(row.chunks_exact(3)) {
            (*r, *g, *b) = (pixel[0], pixel[1], pixel[2]);
        }
    }
    planes
}

/// Copies interleaved pixels to their place in a larger picture.
pub(crate) fn paste(inner: &[u8], pixels: &mut [u8], width: usize, rect: Rect, channels: usize) {
    let rows = pixels.chunks_exact_mut(width * channels).skip(rect.top);
    for (row, inner) in rows.zip(inner.chunks_exact(rect.width * channels)) {
        row[rect.left * channels..(rect.left + rect.width) * channels].copy_from_slice(inner);
    }
}

/// Returns the median of the border's pixels, channel by channel: a product picture's background.
fn border_colour(picture: &RgbImage) -> Rgb<u8> {
    let (width, height) = picture.dimensions();
    let rows = [0, height - 1].into_iter().flat_map(|y| (0..width).map(move |x| (x, y)));
    let columns = [0, width - 1].into_iter().flat_map(|x| (0..height).map(move |y| (x, y)));
    let border: Vec<[u8; 3]> = rows.chain(columns).map(|(x, y)| picture.get_pixel(x, y).0).collect();
    Rgb([0, 1, 2].map(|c| {
        let mut values: Vec<u8> = border.iter().map(|pixel| pixel[c]).collect();
        let middle = values.len() / 2;
        *values.select_nth_unstable(middle).1
    }))
}

/// Resizes interleaved 8-bit pixels with 1 or 3 channels: averages when it shrinks, interpolates bilinearly when it
/// grows.
///
/// # Shapes
/// `pixels`: `height * width * channels` bytes. Returns `to_height * to_width * channels` bytes.
pub fn resize(pixels: &[u8], from: [usize; 2], to: [usize; 2], channels: usize) -> Vec<u8> {
    resize_part(pixels, from, Rect::whole(from), to, channels)
}

/// Resizes a part of a picture, as [`resize`] does a whole one.
pub fn resize_part(pixels: &[u8], from: [usize; 2], part: Rect, to: [usize; 2], channels: usize) -> Vec<u8> {
    match channels {
        _ if part.size() == from && from == to => pixels.to_vec(),
        1 => resize_typed::<U8>(pixels, from, part, to),
        3 => resize_typed::<U8x3>(pixels, from, part, to),
        _ => unreachable!("pictures have 1 or 3 channels"),
    }
}

/// Resizes pixels of one type. The library's untyped call would compile all sixteen types into this crate.
fn resize_typed<P: PixelTrait + InnerPixel<Component = u8>>(
    pixels: &[u8],
    from: [usize; 2],
    part: Rect,
    to: [usize; 2],
) -> Vec<u8> {
    let [from, to] = [from, to].map(|sides| sides.map(|side| side as u32));
    let source = TypedImageRef::<P>::from_buffer(from[1], from[0], pixels).expect("the caller's size fits its bytes");
    let mut target = TypedImage::<P>::new(to[1], to[0]);
    let [left, top, width, height] = [part.left, part.top, part.width, part.height].map(|side| side as f64);
    let options =
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(left, top, width, height);
    Resizer::new().resize_typed(&source, &mut target, &options).expect("a convolution of whole pictures");
    P::components(target.pixels()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_averages_and_planes_are_channel_by_channel() {
        // Columns 0, 0, 100, 100: a bilinear halving weighs 1 : 3 : 3 : 1 inside. A constant row stays constant.
        let picture = RgbImage::from_fn(4, 2, |x, _| Rgb([(x / 2 * 100) as u8, 7, 9]));
        let planes = planes(&picture, [1, 2], Fit::Stretch);
        assert_eq!(planes[2..], [7, 7, 9, 9]);
        // Left: (3*0 + 3*0 + 1*100) / 7 = 14.3; right mirrors it: 85.7.
        assert_eq!(planes[..2], [14, 86]);
    }

    #[test]
    fn a_crop_keeps_the_middle_and_a_pad_adds_the_border_colour() {
        // 2 x 6, columns 0 10 20 30 40 50 in red; green tells rows apart.
        let picture = RgbImage::from_fn(6, 2, |x, y| Rgb([x as u8 * 10, y as u8, 5]));
        let cropped = planes(&picture, [2, 2], Fit::Crop);
        assert_eq!(cropped[..4], [20, 30, 20, 30]);
        assert_eq!(cropped[4..8], [0, 0, 1, 1]);
        // 6 x 6: rows 2 and 3 are the picture. The bars are the border's median: of the reds 0 10 20 30 40 50 twice and
        // 0 0 50 50 it is 30, of the blues 5.
        let padded = planes(&picture, [6, 6], Fit::Pad);
        assert_eq!(padded[..6], [30; 6]);
        assert_eq!(padded[12..18], [0, 10, 20, 30, 40, 50]);
        assert_eq!(padded[24..36], [30; 12]);
        assert_eq!(padded[72..], [5; 36]);
    }

    #[test]
    fn a_larger_place_holds_the_picture_where_the_small_one_does() {
        // 10 x 7 in 16 x 16 is 16 x 11 from column 2 on: 64 x 44 from column 8 on at four times the size, not 45. Two
        // bright rows in the middle show where the picture ends; the bars are dark, as most of its border.
        let picture = RgbImage::from_fn(7, 10, |_, y| Rgb([if y == 4 || y == 5 { 200 } else { 0 }, 0, 0]));
        for (times, expected) in [(1, 2..13), (4, 8..52)] {
            let side = 16 * times;
            let planes = larger_planes(&picture, [16, 16], Fit::Pad, times);
            assert_eq!(planes.len(), 3 * side * side);
            let row = &planes[side * side / 2..][..side];
            let bright: Vec<usize> = (0..side).filter(|&x| row[x] > 100).collect();
            assert_eq!(bright, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn extreme_aspects_keep_a_pixel() {
        for (from, to) in [([1, 10_000], [64, 48]), ([10_000, 1], [64, 48]), ([1, 1], [64, 48])] {
            for fit in [Fit::Crop, Fit::Pad, Fit::Stretch] {
                let Placement { source, target } = place(fit, from, to);
                assert!(source.height * source.width * target.height * target.width > 0);
                assert!(source.top + source.height <= from[0] && source.left + source.width <= from[1]);
                assert!(target.top + target.height <= to[0] && target.left + target.width <= to[1]);
            }
        }
        let picture = RgbImage::from_pixel(10_000, 1, Rgb([9, 9, 9]));
        assert_eq!(planes(&picture, [64, 48], Fit::Pad), vec![9; 3 * 64 * 48]);
    }
}

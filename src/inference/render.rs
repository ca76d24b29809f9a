//! Full-size rendering: mask and paint at the photo's size, and their composite in bytes.

use std::sync::{Mutex, PoisonError};

use image::RgbImage;
use tch::{Device, Kind, Tensor};

use crate::config::Config;
use crate::native::{parallel_for, sent};
use crate::networks::kisekae::{Inside, along, moved, outline, warped};
use crate::networks::{Detail, Swap};
use crate::pixels::{Placement, Rect, ValueRange, larger_planes, paste, place, resize_part, to_vec};

/// The largest number of pixels that are painted one by one.
pub const PAINTED: f64 = 4e6;
/// The largest number of pixels that are painted of several photos at once.
pub const TOGETHER: u64 = 1 << 20;
/// Where the filtered location is above this value, the mask covers the worn article. The locator's own mask cuts at
/// 0.5.
const COVERED: f64 = 0.35;

/// One swapped photo, of the photo's size.
///
/// It holds the picture alone at that size. Mask, paint and located region are enlarged when they are asked for: of a
/// photo of 48 megapixels they would take 240 MB more.
#[derive(Clone, Debug)]
pub struct Swapped {
    /// Height and width.
    pub size: [usize; 2],
    /// The person in the target article, `H * W * 3` bytes.
    pub image: Vec<u8>,
    /// Where in the target article the paint comes from. `None` from networks that do not warp it.
    pub flow: Option<Flow>,
    mask: Layer,
    paint: Layer,
    located: Option<Layer>,
}

impl Swapped {
    /// Makes a swap of picture, mask and paint of the photo's size. Their bytes must fill it.
    pub fn of_parts(
        size: [usize; 2],
        [image, mask, paint]: [Vec<u8>; 3],
        located: Option<Vec<u8>>,
        flow: Option<Flow>,
    ) -> Swapped {
        let whole = |bytes: Vec<u8>| Layer { bytes, size, part: Rect::whole(size), over: Rect::whole(size) };
        Swapped { size, image, mask: whole(mask), paint: whole(paint), located: located.map(whole), flow }
    }

    /// Returns `H * W` bytes, 255 = repainted.
    pub fn mask(&self) -> Vec<u8> {
        self.mask.at_size(self.size)
    }

    /// Returns the colours that the generator proposes, `H * W * 3` bytes.
    pub fn paint(&self) -> Vec<u8> {
        let inner = self.paint.inner(3);
        if self.paint.over == Rect::whole(self.size) {
            return inner;
        }
        // The pixels outside a crop are the photo's.
        let mut paint = self.image.clone();
        paste(&inner, &mut paint, self.size[1], self.paint.over, 3);
        paint
    }

    /// Returns where the worn article is, `H * W` bytes, 255 = there. `None` from networks that do not locate it.
    pub fn located(&self) -> Option<Vec<u8>> {
        self.located.as_ref().map(|layer| layer.at_size(self.size))
    }
}

/// A swap equals one of the same pixels, as its copy from numpy's arrays.
impl PartialEq for Swapped {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size
            && self.image == other.image
            && self.flow == other.flow
            && self.mask() == other.mask()
            && self.located() == other.located()
            && self.paint() == other.paint()
    }
}

impl Eq for Swapped {}

/// Interleaved bytes that lie over a part of the photo.
#[derive(Clone, Debug)]
struct Layer {
    bytes: Vec<u8>,
    /// Height and width of the bytes.
    size: [usize; 2],
    /// The part of the bytes that is stretched.
    part: Rect,
    /// The part of the photo that it is stretched over.
    over: Rect,
}

impl Layer {
    /// Returns the bytes of the part of the photo.
    fn inner(&self, channels: usize) -> Vec<u8> {
        resize_part(&self.bytes, self.size, self.part, self.over.size(), channels)
    }

    /// Returns one byte for each of the photo's pixels: 0 outside the part.
    fn at_size(&self, size: [usize; 2]) -> Vec<u8> {
        let inner = self.inner(1);
        if self.over == Rect::whole(size) {
            return inner;
        }
        let mut whole = vec![0; size[0] * size[1]];
        paste(&inner, &mut whole, size[1], self.over, 1);
        whole
    }
}

/// The flow of one swap over its whole photo, as fine as the networks' pictures.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Rows and columns.
    pub size: [usize; 2],
    /// Places in the article's picture, x then y, -1 to 1 between its outer edges: `h * w * 2` numbers.
    pub places: Vec<f32>,
}

/// Two values that are not numbers are equal: a copy equals its original.
impl PartialEq for Flow {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&f32, &f32)| a == b || (a.is_nan() && b.is_nan());
        self.size == other.size && self.places.iter().zip(&other.places).all(same)
    }
}

impl Eq for Flow {}

/// Renders swaps of a config's networks.
#[derive(Clone, Copy, Debug)]
pub struct Renderer<'a> {
    pub config: &'a Config,
    pub device: Device,
}

impl Renderer<'_> {
    /// Renders the one swap of a batch at the size of its photo, given the target's picture. The photo becomes the swap.
    pub fn render(&self, swap: &Swap, photo: RgbImage, article: &RgbImage) -> Swapped {
        let size = [photo.height() as usize, photo.width() as usize];
        let sides = self.config.image_size.map(|side| side as usize);
        let placement = place(self.config.human_fit, size, sides);
        let Placement { source, target } = placement;
        let small = |bytes: &Tensor| Layer { bytes: to_vec(bytes), size: sides, part: target, over: source };
        let levels = |values: &Tensor| small(&ValueRange::Unit.to_bytes(&values.get(0)));
        let (mask, paint) = match &swap.detail {
            Some(detail) => {
                let zoom = Zoom::of(placement);
                (self.mask_in_detail(&swap.mask, detail, &zoom, &photo), self.paint_in_detail(detail, &zoom, article))
            }
            None => {
                let paint = self.config.range().to_bytes(&swap.paint.get(0)).permute([1, 2, 0]);
                (levels(&swap.mask), small(&paint))
            }
        };
        let flow = swap.detail.as_ref().map(|detail| self.flow(&detail.flow, placement, &photo, article));
        let mut image = photo.into_raw();
        blend(&mut image, size[1], source, &paint.inner(3), &mask.inner(1));
        Swapped { size, image, mask, paint, located: swap.located.as_ref().map(levels), flow }
    }

    /// Turns the flow between pictures as the networks see them into one between photo and article.
    fn flow(&self, flow: &Tensor, of_photo: Placement, photo: &RgbImage, article: &RgbImage) -> Flow {
        let sides = self.config.image_size.map(|side| side as usize);
        let [photo, article] = [photo, article].map(|picture| [picture.height() as usize, picture.width() as usize]);
        let mut flow = flow.to_kind(Kind::Float); // [1, 2, h, w]
        let [across, down] = of_photo.places(photo, sides);
        if [across, down] != [[1.0, 0.0]; 2] {
            // Beyond the part that the networks see, the border's places continue.
            let theta = [1.0 / across[0], 0.0, -across[1] / across[0], 0.0, 1.0 / down[0], -down[1] / down[0]];
            let theta = sent(&Tensor::from_slice(&theta).reshape([1, 2, 3]).to_kind(Kind::Float), flow.device());
            let grid = Tensor::affine_grid_generator(&theta, flow.size(), false);
            flow = warped(&flow, &grid.permute([0, 3, 1, 2]));
        }
        let flow = flow.get(0).permute([1, 2, 0]).contiguous().to_device(Device::Cpu); // [h, w, 2]
        let mut places = vec![0f32; flow.numel()];
        flow.copy_data(&mut places, flow.numel());
        let maps = place(self.config.article_fit, article, sides).places(article, sides);
        if maps != [[1.0, 0.0]; 2] {
            for point in places.chunks_exact_mut(2) {
                for (place, [scale, shift]) in point.iter_mut().zip(maps) {
                    *place = (f64::from(*place) * scale + shift) as f32;
                }
            }
        }
        Flow { size: sides, places }
    }

    /// Computes the mask of one swap at the photo's size, or the largest that is painted.
    fn mask_in_detail(&self, mask: &Tensor, detail: &Detail, zoom: &Zoom, photo: &RgbImage) -> Layer {
        let sides = [photo.height() as usize, photo.width() as usize];
        let [height, width] = zoom.size;
        let photo = {
            let bytes = resize_part(photo.as_raw(), sides, zoom.source, [height as usize, width as usize], 3);
            Tensor::from_slice(&bytes).reshape([1, height, width, 3])
        };
        let [slope, offset] = detail.edges.each_ref().map(|xs| zoom.larger(xs));
        let (mask, placement) = (zoom.larger(mask), zoom.larger(&detail.placement));
        zoom.layer(self.device, |rows| {
            let photo = photo.narrow(1, rows.first, rows.count).permute([0, 3, 1, 2]);
            let photo = self.config.range().from_bytes(&photo.to_device(self.device));
            let worn = along(&rows.of(&slope), &rows.of(&offset), &photo);
            ValueRange::Unit.to_bytes(&covering(&rows.of(&mask), &worn, &rows.of(&placement)).get(0))
        })
    }

    /// Computes the paint of one swap as [`Self::mask_in_detail`] does its mask. Warps the article's own pixels at that
    /// size, so that patterns stay as sharp as the article's picture, whatever the networks' size is.
    fn paint_in_detail(&self, detail: &Detail, zoom: &Zoom, article: &RgbImage) -> Layer {
        // The photo's size as a multiple of the networks'.
        let times = (zoom.size[0] as f64 / zoom.target.height as f64).round();
        // A photo of 6000 x 10 would ask for an article of 6000 x 6000.
        let [height, width] = self.config.image_size;
        let most = (PAINTED / (height * width) as f64).sqrt().ceil();
        let times = times.clamp(1.0, most.max(1.0)) as usize;
        let (inside, region) = {
            let bytes = larger_planes(article, self.config.image_size, self.config.article_fit, times);
            let article = self.values(&bytes, 1, self.config.image_size.map(|side| side * times as i64));
            let region = outline(&article);
            (Inside::of(&article, &region), region)
        };
        // The rendering has the networks' size, the article the photo's: mixes give the article more weight.
        let (mix, flow, rendered) =
            (zoom.larger(&detail.mix), zoom.larger(&detail.flow), zoom.larger(&detail.rendered));
        zoom.layer(self.device, |rows| {
            let flow = rows.of(&flow);
            let warped = inside.warped(&flow);
            let mix = rows.of(&mix).sqrt() * moved(&region, &flow);
            let paint = rows.of(&rendered).lerp_tensor(&warped, &mix.expand_as(&warped));
            self.config.range().to_bytes(&paint.get(0)).permute([1, 2, 0])
        })
    }

    /// Turns pictures, as planes, into a batch of values on the device.
    pub fn values(&self, planes: &[u8], count: usize, [height, width]: [i64; 2]) -> Tensor {
        let bytes = Tensor::from_slice(planes).reshape([count as i64, 3, height, width]);
        self.config.range().from_bytes(&sent(&bytes, self.device))
    }
}

/// Enlarges a picture to its photo's size.
struct Zoom {
    source: Rect,
    target: Rect,
    /// Height and width of the pixels that are painted one by one: the source's, or less if it is very large.
    size: [i64; 2],
}

impl Zoom {
    fn of(Placement { source, target }: Placement) -> Self {
        let [height, width] = source.size().map(|side| side as f64);
        // Larger paint is stretched, so that memory stays bounded.
        let scale = (PAINTED / (height * width)).sqrt().min(1.0);
        let size = [height, width].map(|side| ((side * scale).round() as i64).max(1));
        Zoom { source, target, size }
    }

    /// Enlarges the picture's values.
    fn larger(&self, values: &Tensor) -> Tensor {
        let part = self.target;
        values
            .narrow(2, part.top as i64, part.height as i64)
            .narrow(3, part.left as i64, part.width as i64)
            .upsample_bilinear2d(self.size, false, None, None)
    }

    /// Lays interleaved bytes of `size` over the source, made from some rows after the others: what is computed on the
    /// way takes several times the memory of the result.
    fn layer(&self, device: Device, of: impl Fn(Rows) -> Tensor) -> Layer {
        /// Pixels at once on a CPU.
        const AT_ONCE: i64 = 1 << 18;
        let [height, width] = self.size;
        let most = if device == Device::Cpu { (AT_ONCE / width).max(1) } else { height };
        let mut bytes = Vec::new();
        for first in (0..height).step_by(most as usize) {
            bytes.extend(to_vec(&of(Rows { first, count: most.min(height - first) })));
        }
        let size = self.size.map(|side| side as usize);
        Layer { bytes, size, part: Rect::whole(size), over: self.source }
    }
}

/// Some rows of a picture.
#[derive(Clone, Copy)]
struct Rows {
    first: i64,
    count: i64,
}

impl Rows {
    /// Takes them from `[N, C, H, W]`.
    fn of(self, xs: &Tensor) -> Tensor {
        xs.narrow(2, self.first, self.count)
    }
}

/// Restricts the mask to the worn article and the target's placement. The rest was erased as a margin, and need not be
/// invented.
///
/// # Shapes
/// All three: `[N, 1, H, W]` in [0, 1]. Returns the same.
fn covering(mask: &Tensor, worn: &Tensor, placement: &Tensor) -> Tensor {
    let steep = |xs: &Tensor, cut: f64| ((xs - cut) * 4.0 + 0.5).clamp(0.0, 1.0);
    mask * steep(worn, COVERED).maximum(&steep(placement, 0.5))
}

/// Replaces a part of a photo by mask * paint + (255 - mask) * photo over 255, rounded. Where the mask is 0 the photo's
/// bytes stay.
fn blend(photo: &mut [u8], width: usize, part: Rect, paint: &[u8], mask: &[u8]) {
    let level = |photo: u8, paint: u8, mask: u8| {
        let mask = u32::from(mask);
        ((mask * u32::from(paint) + (255 - mask) * u32::from(photo) + 127) / 255) as u8
    };
    /// Rows for one thread.
    const ROWS: usize = 64;
    let rows = photo.chunks_exact_mut(width * 3).skip(part.top).take(part.height);
    let layers = paint.chunks_exact(part.width * 3).zip(mask.chunks_exact(part.width));
    let mut rows: Vec<_> = rows.zip(layers).collect();
    let parts: Vec<_> = rows.chunks_mut(ROWS).map(Mutex::new).collect();
    parallel_for(parts.len(), |k| {
        for (row, (paint, mask)) in parts[k].lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let row = &mut row[part.left * 3..(part.left + part.width) * 3];
            for ((photo, paint), &mask) in row.chunks_exact_mut(3).zip(paint.chunks_exact(3)).zip(*mask) {
                if mask > 0 {
                    for (photo, &paint) in photo.iter_mut().zip(paint) {
                        *photo = level(*photo, paint, mask);
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_stays_the_photo() {
        let [mask, worn, placement] =
            [[1.0f32, 1.0, 1.0, 1.0, 0.5, 0.0], [1.0, 0.0, 0.0, 0.35, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]]
                .map(|row| Tensor::from_slice(&row).reshape([1, 1, 1, 6]));
        let got = covering(&mask, &worn, &placement).reshape([-1]);
        // Worn; placed; neither; worn perhaps; the erasure's soft edge; outside.
        assert_eq!(Vec::<f32>::try_from(got).unwrap(), [1.0, 1.0, 0.0, 0.5, 0.5, 0.0]);
    }

    #[test]
    fn the_mask_decides_between_photo_and_paint() {
        let (mut image, paint) = ([10, 20, 31, 1, 2, 3, 9, 9, 9], [200, 100, 0, 250, 250, 250, 7, 7, 7]);
        blend(&mut image, 3, Rect::whole([1, 3]), &paint, &[128, 0, 255]);
        // (128 * 200 + 127 * 10 + 127) / 255 = 105; (128 * 100 + 127 * 20 + 127) / 255 = 60; (127 * 31 + 127) / 255 =
        // 15
        assert_eq!(image, [105, 60, 15, 1, 2, 3, 7, 7, 7]);
        // The lower right pixel of 2 x 2.
        let mut image = [5; 12];
        blend(&mut image, 2, Rect { top: 1, left: 1, height: 1, width: 1 }, &[9, 8, 7], &[255]);
        assert_eq!(image, [5, 5, 5, 5, 5, 5, 5, 5, 5, 9, 8, 7]);
    }

    #[test]
    fn layers_lie_over_their_part_of_the_photo() {
        let over = Rect { top: 0, left: 1, height: 2, width: 2 };
        let layer = |bytes| Layer { bytes, size: [1, 1], part: Rect::whole([1, 1]), over };
        let (size, image) = ([2, 4], (0..24).collect::<Vec<u8>>());
        let swap = Swapped {
            size,
            image: image.clone(),
            flow: None,
            mask: layer(vec![7]),
            paint: layer(vec![90, 91, 92]),
            located: Some(layer(vec![8])),
        };
        assert_eq!(swap.mask(), [0, 7, 7, 0, 0, 7, 7, 0]);
        assert_eq!(swap.located().unwrap(), [0, 8, 8, 0, 0, 8, 8, 0]);
        let painted = [90, 91, 92, 90, 91, 92];
        assert_eq!(swap.paint(), [&image[..3], &painted, &image[9..15], &painted, &image[21..]].concat());
        let copy = Swapped::of_parts(size, [image, swap.mask(), swap.paint()], swap.located(), None);
        assert_eq!(copy, swap);
    }
}

//! Full-size rendering: mask and paint at the photo's size, and their composite in bytes.

use image::RgbImage;
use tch::{Device, Kind, Tensor};

use crate::config::Config;
use crate::networks::kisekae::{along, moved, outline, warped, warped_inside};
use crate::networks::{Detail, Swap};
use crate::pixels::{Placement, Rect, ValueRange, larger_planes, paste, place, resize, resize_part, to_vec};

/// The largest number of pixels that are painted one by one.
const PAINTED: f64 = 4e6;
/// Where the filtered location is above this value, the mask covers the worn article. The locator's own mask cuts at
/// 0.5.
const COVERED: f64 = 0.35;

/// One swapped photo, of the photo's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped {
    /// Height and width.
    pub size: [usize; 2],
    /// The person in the target article, `H * W * 3` bytes.
    pub image: Vec<u8>,
    /// `H * W` bytes, 255 = repainted.
    pub mask: Vec<u8>,
    /// The colours that the generator proposes, `H * W * 3` bytes.
    pub paint: Vec<u8>,
    /// Where the worn article is, `H * W` bytes, 255 = there. `None` from networks that do not locate it.
    pub located: Option<Vec<u8>>,
    /// Where in the target article the paint comes from. `None` from networks that do not warp it.
    pub flow: Option<Flow>,
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
    /// Renders swap `i` of a batch at the size of its photo, given the target's picture.
    pub fn render(&self, swap: &Swap, i: i64, photo: &RgbImage, article: &RgbImage) -> Swapped {
        let size = [photo.height() as usize, photo.width() as usize];
        let sides = self.config.image_size.map(|side| side as usize);
        let placement = place(self.config.human_fit, size, sides);
        let Placement { source, target } = placement;
        // The pixels outside a crop stay as they are.
        let whole = |small: &Tensor| {
            let small = to_vec(&ValueRange::Unit.to_bytes(&small.get(i)));
            let inner = resize_part(&small, sides, target, source.size(), 1);
            let mut whole = vec![0; size[0] * size[1]];
            paste(&inner, &mut whole, size[1], source, 1);
            whole
        };
        let mut mask = whole(&swap.mask);
        let inner = match &swap.detail {
            Some(detail) => {
                let zoom = Zoom::of(placement, i);
                let inner = self.mask_in_detail(&swap.mask, detail, &zoom, photo);
                paste(&inner, &mut mask, size[1], source, 1);
                self.paint_in_detail(detail, &zoom, article)
            }
            None => {
                let small = to_vec(&self.config.range().to_bytes(&swap.paint.get(i)).permute([1, 2, 0]));
                resize_part(&small, sides, target, source.size(), 3)
            }
        };
        let mut paint = photo.as_raw().clone();
        paste(&inner, &mut paint, size[1], source, 3);
        Swapped {
            size,
            image: composite(photo.as_raw(), &paint, &mask),
            mask,
            paint,
            located: swap.located.as_ref().map(whole),
            flow: swap.detail.as_ref().map(|detail| self.flow(&detail.flow, i, placement, photo, article)),
        }
    }

    /// Turns the flow of swap `i`, between pictures as the networks see them, into one between photo and article.
    fn flow(&self, flow: &Tensor, i: i64, of_photo: Placement, photo: &RgbImage, article: &RgbImage) -> Flow {
        let sides = self.config.image_size.map(|side| side as usize);
        let [photo, article] = [photo, article].map(|picture| [picture.height() as usize, picture.width() as usize]);
        let mut flow = flow.get(i).to_kind(Kind::Float).unsqueeze(0); // [1, 2, h, w]
        let [across, down] = of_photo.places(photo, sides);
        if [across, down] != [[1.0, 0.0]; 2] {
            // Beyond the part that the networks see, the border's places continue.
            let theta = [1.0 / across[0], 0.0, -across[1] / across[0], 0.0, 1.0 / down[0], -down[1] / down[0]];
            let theta = Tensor::from_slice(&theta).reshape([1, 2, 3]).to_kind(Kind::Float).to_device(flow.device());
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

    /// Computes the mask of one swap at the photo's size, in bytes.
    fn mask_in_detail(&self, mask: &Tensor, detail: &Detail, zoom: &Zoom, photo: &RgbImage) -> Vec<u8> {
        let sides = [photo.height() as usize, photo.width() as usize];
        let [height, width] = zoom.size;
        let size = zoom.size.map(|side| side as usize);
        let bytes = resize_part(photo.as_raw(), sides, zoom.source, size, 3);
        let bytes = Tensor::from_slice(&bytes).reshape([1, height, width, 3]);
        let photo = self.config.range().from_bytes(&bytes.permute([0, 3, 1, 2]).to_device(self.device));
        let [slope, offset] = detail.edges.each_ref().map(|xs| zoom.larger(xs));
        let worn = along(&slope, &offset, &photo);
        let mask = covering(&zoom.larger(mask), &worn, &zoom.larger(&detail.placement));
        zoom.bytes(&ValueRange::Unit.to_bytes(&mask.get(0)), 1)
    }

    /// Computes the paint of one swap at the photo's size, in interleaved bytes. Warps the article's own pixels at that
    /// size, so that patterns stay as sharp as the article's picture, whatever the networks' size is.
    fn paint_in_detail(&self, detail: &Detail, zoom: &Zoom, article: &RgbImage) -> Vec<u8> {
        // The photo's size as a multiple of the networks'.
        let times = (zoom.size[0] as f64 / zoom.target.height as f64).round();
        // A photo of 6000 x 10 would ask for an article of 6000 x 6000.
        let [height, width] = self.config.image_size;
        let most = (PAINTED / (height * width) as f64).sqrt().ceil();
        let times = times.clamp(1.0, most.max(1.0)) as usize;
        let bytes = larger_planes(article, self.config.image_size, self.config.article_fit, times);
        let article = self.values(&bytes, 1, self.config.image_size.map(|side| side * times as i64));
        // The rendering has the networks' size, the article the photo's: mixes give the article more weight.
        let mix = zoom.larger(&detail.mix).sqrt();
        let (region, flow) = (outline(&article), zoom.larger(&detail.flow));
        let warped = warped_inside(&article, &region, &flow);
        let mix = mix * moved(&region, &flow);
        let paint = zoom.larger(&detail.rendered).lerp_tensor(&warped, &mix.expand_as(&warped));
        zoom.bytes(&self.config.range().to_bytes(&paint.get(0)).permute([1, 2, 0]), 3)
    }

    /// Turns pictures, as planes, into a batch of values on the device.
    pub fn values(&self, planes: &[u8], count: usize, [height, width]: [i64; 2]) -> Tensor {
        let bytes = Tensor::from_slice(planes).reshape([count as i64, 3, height, width]);
        self.config.range().from_bytes(&bytes.to_device(self.device))
    }
}

/// Enlarges one picture of a batch to its photo's size.
struct Zoom {
    i: i64,
    source: Rect,
    target: Rect,
    /// Height and width of the pixels that are painted one by one: the source's, or less if it is very large.
    size: [i64; 2],
}

impl Zoom {
    fn of(Placement { source, target }: Placement, i: i64) -> Self {
        let [height, width] = source.size().map(|side| side as f64);
        // Larger paint is stretched, so that memory stays bounded.
        let scale = (PAINTED / (height * width)).sqrt().min(1.0);
        let size = [height, width].map(|side| ((side * scale).round() as i64).max(1));
        Zoom { i, source, target, size }
    }

    /// Enlarges the picture's values.
    fn larger(&self, values: &Tensor) -> Tensor {
        let part = self.target;
        values
            .narrow(0, self.i, 1)
            .narrow(2, part.top as i64, part.height as i64)
            .narrow(3, part.left as i64, part.width as i64)
            .upsample_bilinear2d(self.size, false, None, None)
    }

    /// Resizes interleaved bytes of `size` to the source's size.
    fn bytes(&self, bytes: &Tensor, channels: usize) -> Vec<u8> {
        let from = self.size.map(|side| side as usize);
        resize(&to_vec(bytes), from, self.source.size(), channels)
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

/// Computes mask * paint + (255 - mask) * photo over 255, rounded. Where the mask is 0 the photo's bytes stay.
fn composite(photo: &[u8], paint: &[u8], mask: &[u8]) -> Vec<u8> {
    let blend = |photo: u8, paint: u8, mask: u8| {
        let mask = u32::from(mask);
        ((mask * u32::from(paint) + (255 - mask) * u32::from(photo) + 127) / 255) as u8
    };
    (photo.iter().zip(paint).enumerate()).map(|(i, (&photo, &paint))| blend(photo, paint, mask[i / 3])).collect()
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
        let (photo, paint) = ([10, 20, 31, 1, 2, 3, 9, 9, 9], [200, 100, 0, 250, 250, 250, 7, 7, 7]);
        let image = composite(&photo, &paint, &[128, 0, 255]);
        // (128 * 200 + 127 * 10 + 127) / 255 = 105; (128 * 100 + 127 * 20 + 127) / 255 = 60; (127 * 31 + 127) / 255 =
        // 15
        assert_eq!(image, [105, 60, 15, 1, 2, 3, 7, 7, 7]);
    }
}

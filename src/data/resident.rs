//! Keeps all decoded pictures as bytes on the training device. A batch is one gather there.

use tch::{Device, Kind, Tensor};

use super::batch::Batch;
use super::draw::{Draw, PictureDraw};
use super::set::Set;
use crate::error::Result;
use crate::native::{Memory, parallel_for, sent};
use crate::pixels::ValueRange;

/// Decoded files.
///
/// # Shapes
/// `[files, 3, H + margin, W + margin]`, uint8.
#[derive(Debug)]
pub struct Resident {
    pictures: Tensor,
}

impl Resident {
    /// Allocates memory for the pictures of `files` files, each `[3, height, width]`.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] for a device with too little memory.
    pub fn allocate(files: usize, [height, width]: [i64; 2], device: Device) -> Result<Resident> {
        let size = [files as i64, 3, height, width];
        let pictures = Tensor::f_empty(size, (Kind::Uint8, device))?;
        Ok(Resident { pictures })
    }

    /// Stores the pictures of the files from `first` on.
    pub fn fill(&mut self, first: usize, pictures: &[&[u8]]) {
        let mut size = self.pictures.size();
        size[0] = pictures.len() as i64;
        let bytes = Tensor::from_slice(&pictures.concat()).reshape(size);
        let mut place = self.pictures.narrow(0, first as i64, pictures.len() as i64);
        place.copy_(&bytes);
    }

    /// Gathers the pictures of a draw: values, or bytes for colour jitter.
    pub fn batch(&self, set: &Set, draw: &Draw, range: ValueRange) -> Batch {
        let sides = set.pictures(draw);
        if self.pictures.device() == Device::Cpu && draw.colours.is_empty() {
            return Batch::Values(sides.map(|side| self.values(set, &side, range)));
        }
        // All three sides at once: one table of indices, one gather.
        let counts = sides.each_ref().map(|side| side.len() as i64);
        let bytes = self.bytes(set, &sides.concat());
        let apart = |xs: &Tensor| {
            let mut first = 0;
            counts.map(|count| {
                first += count;
                xs.narrow(0, first - count, count)
            })
        };
        match draw.colours.is_empty() {
            true => Batch::Values(apart(&range.from_bytes(&bytes))),
            false => Batch::Bytes(apart(&bytes)),
        }
    }

    /// Gathers, crops and mirrors on a CPU: `[N, 3, H, W]`, float32 in the range.
    fn values(&self, set: &Set, pictures: &[(usize, &PictureDraw)], range: ValueRange) -> Tensor {
        let [h, w] = set.config.image_size;
        let values = Tensor::empty([pictures.len() as i64, 3, h, w], (Kind::Float, Device::Cpu));
        let stride = self.pictures.size()[1..].iter().product::<i64>() as usize;
        let (files, size) = (self.pictures.size()[0] as usize, (3 * h * w) as usize);
        let (from, to) = (Memory::<u8>::of(&self.pictures), Memory::<f32>::of(&values));
        parallel_for(pictures.len(), |k| {
            let (file, draw) = pictures[k];
            assert!(file < files);
            // SAFETY: both are contiguous tensors on the CPU, of bytes and of float32, that outlive this function; each
            // picture of the second is written once.
            let (picture, to) = unsafe {
                (
                    std::slice::from_raw_parts(from.at(file * stride), stride),
                    std::slice::from_raw_parts_mut(to.at(k * size), size),
                )
            };
            set.cut(picture, draw, to, |byte| range.from_byte(byte));
        });
        values
    }

    /// Gathers, crops and mirrors: `[N, 3, H, W]`, uint8.
    fn bytes(&self, set: &Set, pictures: &[(usize, &PictureDraw)]) -> Tensor {
        let n = pictures.len() as i64;
        let [h, w] = set.config.image_size;
        let device = self.pictures.device();
        let draws = pictures.iter().map(|(_, draw)| draw);
        let rows = draws.clone().flat_map(|d| (0..h).map(|y| d.corner[0] + y));
        let columns = draws.flat_map(|d| (0..w).map(|x| d.corner[1] + if d.flip { w - 1 - x } else { x }));
        let files = pictures.iter().map(|(file, _)| *file as i64);
        let table: Vec<i64> = files.chain(rows).chain(columns).collect();
        let table = sent(&Tensor::from_slice(&table), device);
        let part = |first: i64, shape: [i64; 4]| Some(table.narrow(0, first, shape.iter().product()).reshape(shape));
        self.pictures.index::<Tensor>(&[
            part(0, [n, 1, 1, 1]),
            Some(Tensor::arange(3, (Kind::Int64, device)).reshape([1, 3, 1, 1])),
            part(n, [n, 1, h, 1]),
            part(n + n * h, [n, 1, 1, w]),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::data::draw::Targets;

    #[test]
    fn a_picture_is_cropped_and_mirrored_where_the_draw_says() {
        // 1 picture of 3 x 4 whose value is 10 * row + column, in all channels.
        let values: Vec<u8> = (0..3).flat_map(|y| (0..4).map(move |x| 10 * y + x)).collect();
        let mut resident = Resident::allocate(2, [3, 4], Device::Cpu).unwrap();
        resident.fill(1, &[&values.repeat(3)]);
        let config = Config::unchecked(|settings| (settings.image_size, settings.crop_margin) = ([2, 3], 1));
        let set = Set {
            config,
            stock: Default::default(),
            files: Vec::new(),
            humans: vec![1],
            articles: vec![1],
            targets: Targets::new(&[0, 1], &[None::<u8>]).unwrap(),
            fingerprint: String::new(),
            share: crate::data::Share::WHOLE,
        };
        let draw = |flip| PictureDraw { index: 0, flip, corner: [1, 1] };
        let (straight, mirrored) = (draw(false), draw(true));
        let pictures = [(1, &straight), (1, &mirrored)];
        let range = ValueRange::Unit;
        // The CPU's code and that of all devices.
        let taken = resident.values(&set, &pictures, range);
        assert_eq!(taken, range.from_bytes(&resident.bytes(&set, &pictures)));
        let taken = range.to_bytes(&taken);
        let rows = |n: i64| crate::pixels::to_vec(&taken.get(n).get(2));
        assert_eq!(rows(0), [11, 12, 13, 21, 22, 23]);
        assert_eq!(rows(1), [13, 12, 11, 23, 22, 21]);
        // Sides of different lengths, gathered at once.
        let sides = |flips: &[bool]| flips.iter().map(|flip| draw(*flip)).collect::<Vec<_>>();
        let colour = crate::data::draw::ColourDraw { brightness: 1.0, contrast: 1.0, saturation: 1.0 };
        let draw = Draw {
            human: sides(&[true]),
            worn: sides(&[false, true]),
            target: sides(&[false, false, true]),
            colours: vec![colour],
        };
        let Batch::Bytes(sides) = resident.batch(&set, &draw, range) else { panic!("values") };
        assert_eq!(sides.each_ref().map(|side| side.size()[0]), [1, 2, 3]);
        let channel = |side: usize, n: i64| crate::pixels::to_vec(&sides[side].get(n).get(0));
        assert_eq!(channel(0, 0), rows(1));
        assert_eq!([channel(1, 0), channel(1, 1)], [rows(0), rows(1)]);
        assert_eq!([channel(2, 1), channel(2, 2)], [rows(0), rows(1)]);
    }
}
